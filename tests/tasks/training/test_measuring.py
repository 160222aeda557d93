"""What is measured before training: a learning rate, and which parts want to move."""

import pytest
import torch

from tasks.data.augmentation import Augmentation
from tasks.params import AugmentParams, StrategyParams
from tasks.strategies import grouping, planning
from tasks.strategies.freezing import Group
from tasks.strategies.surgery import Adapted
from tasks.training.measuring import (
    HIGHEST_RATE,
    LOWEST_RATE,
    SMALLEST_SHARE,
    Trial,
    measure,
    needs_measuring,
    suggested_rate,
)
from tests.tasks.networks import adapt, strategy
from tests.tasks.training.conftest import CPU, Splits

NAME = "mobilenet_v3_small"


def made(settings: StrategyParams) -> tuple[Adapted, tuple[Group, ...]]:
    """Return a network and its groups."""
    adapted = adapt(NAME, settings)
    return adapted, grouping.groups_of(settings, adapted)


def trial(settings: StrategyParams, splits: Splits) -> Trial:
    """Return what a measurement may use."""
    return Trial(settings, 0.1, splits.train, Augmentation(AugmentParams(), upright=False), CPU)


def test_most_strategies_measure_nothing() -> None:
    """Only Auto-RGN and ``lr: find`` do, also in a phase."""
    assert not needs_measuring(strategy(train="all", lr=0.1))
    assert needs_measuring(strategy(train="all", lr="find"))
    assert needs_measuring(strategy(phases=[{"train": "head", "lr": 0.1}, {"train": "all", "lr": "find"}]))
    assert needs_measuring(strategy(train="all", auto_rgn=True))


def test_a_learning_rate_is_found_for_each_phase_that_asks(splits: Splits) -> None:
    """It lies inside the range that was tried, at a tenth of the rate with the lowest loss; the curve is kept."""
    settings = strategy(phases=[{"train": "head", "lr": "find"}, {"train": "all", "lr": 0.001}], batchnorm="train")
    measurement = measure(lambda: made(settings), trial(settings, splits))
    assert list(measurement.measured.rates) == [0]
    curve = measurement.curves[0]
    rates = [rate for rate, _ in curve]
    assert rates == sorted(rates)
    assert rates[0] == LOWEST_RATE
    assert rates[-1] <= HIGHEST_RATE * (1 + 1e-9)
    lowest = min(curve, key=lambda point: point[1])[0]
    assert measurement.measured.rates[0] == pytest.approx(lowest / 10) == suggested_rate(curve)
    adapted, groups = made(settings)
    plan = planning.plan(settings, groups, adapted.new, 0.1, measurement.measured)
    assert dict(plan.rates(0)) == pytest.approx({"head": lowest / 10})


def test_measuring_is_repeatable(splits: Splits) -> None:
    """The same settings and images give the same rate, to the bit."""
    settings = strategy(train="all", lr="find")
    first, second = (measure(lambda: made(settings), trial(settings, splits)) for _ in range(2))
    assert (first.measured, first.curves) == (second.measured, second.curves)
    assert first.seconds > 0


def test_relative_gradient_norms(splits: Splits) -> None:
    """A part whose weights were made a hundred times larger wants to move far less; the largest share is 1."""
    settings = strategy(train="all", lr=0.01, auto_rgn=True)
    plain = measure(lambda: made(settings), trial(settings, splits)).measured.shares
    parts = [group.name for group in made(settings)[1]]
    assert set(plain) == set(parts) - {"head"}
    assert max(plain.values()) == 1
    assert all(0 < share <= 1 for share in plain.values())
    heavy = sorted(plain, key=lambda part: plain[part])[-2]

    def made_heavy() -> tuple[Adapted, tuple[Group, ...]]:
        adapted, groups = made(settings)
        part = next(part for part in adapted.parts if part.name == heavy)
        with torch.no_grad():
            for module_name, module in adapted.model.named_modules():
                # A convolution before a BatchNorm may be scaled without changing what the network computes.
                if isinstance(module, torch.nn.BatchNorm2d) and part.owns(module_name):
                    before = adapted.model.get_submodule(module_name.rpartition(".")[0] + ".0")
                    before.weight.mul_(100)  # type: ignore[operator, union-attr]
                    module.running_mean.mul_(100)  # type: ignore[union-attr]
                    module.running_var.mul_(1e4)  # type: ignore[union-attr]
        return adapted, groups

    scaled = measure(made_heavy, trial(settings, splits)).measured.shares
    assert scaled[heavy] <= max(0.1 * plain[heavy], SMALLEST_SHARE)
    assert {part: share for part, share in scaled.items() if part != heavy} == pytest.approx(
        {part: share for part, share in plain.items() if part != heavy}, rel=0.05
    )
