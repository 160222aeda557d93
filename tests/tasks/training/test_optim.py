"""Rates over the steps, and the optimizer's groups."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tasks.training.optim import all_finite, build, set_rates, warmup_cosine
from tests.tasks.networks import network, strategy

PHASES = [
    {"train": "head", "epochs": 2, "lr": 0.01},
    {"train": ["stages[-1]", "head"], "epochs": 3, "lr": 0.001},
]


@given(steps=st.integers(1, 400), warmup=st.floats(0, 0.95))
def test_warmup_and_cosine(steps: int, warmup: float) -> None:
    """The rate rises over the warm-up, falls after it, and is never zero, negative or over the peak."""
    shares = [warmup_cosine(step, steps, warmup) for step in range(steps)]
    rising = math.ceil(warmup * steps)
    assert all(0 < share <= 1 for share in shares)
    assert all(a < b for a, b in pairwise(shares[: rising + 1]))
    assert all(a > b for a, b in pairwise(shares[rising:]))
    if rising < steps:
        assert shares[rising] == 1


def test_the_rate_ends_near_zero() -> None:
    """After many steps hardly anything is left of the peak; half-way down it is half."""
    assert warmup_cosine(999, 1000, 0.1) < 1e-4
    assert warmup_cosine(550, 1000, 0.1) == pytest.approx(0.5)
    assert warmup_cosine(50, 1000, 0.1) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_every_parameter_is_in_the_optimizer_from_the_start(kind: str) -> None:
    """Frozen groups are there too, once each; weights decay, biases and norms do not."""
    settings = strategy(phases=PHASES, optimizer=kind, weight_decay=0.3)
    adapted, plan = network("shufflenet_v2_x0_5", settings)
    optimizer = build(adapted.model, plan, settings)
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(map(id, held)) == sorted(map(id, adapted.model.parameters()))
    assert {group["name"] for group in optimizer.param_groups} == {group.name for group in plan.groups}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert group["weight_decay"] == (0.3 if parameter.dim() > 1 else 0)


def test_frozen_groups_have_rate_zero() -> None:
    """In every step of every epoch the groups of the phase share one rate below its peak, all others have none."""
    settings = strategy(phases=PHASES, warmup=0.2)
    adapted, plan = network("shufflenet_v2_x0_5", settings)
    optimizer = build(adapted.model, plan, settings)
    peaks = {0: 0.0, 1: 0.0}
    for epoch in range(plan.epochs):
        for step in range(10):
            taken = 10 * (epoch - plan.cycle(epoch)[0]) + step
            set_rates(optimizer, plan, epoch, taken, 10, settings.warmup)
            rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
            training = set(plan.rates(epoch))
            assert all((rate > 0) == (name in training) for name, rate in rates.items())
            assert len({rates[name] for name in training}) == 1
            phase = plan.phase(epoch)[0]
            peaks[phase] = max(peaks[phase], *rates.values())
    assert peaks == pytest.approx({0: 0.01, 1: 0.001})


def test_a_phase_warms_up_anew() -> None:
    """The schedule starts again with each phase, from a small share of its own peak."""
    settings = strategy(phases=PHASES, warmup=0.5)
    adapted, plan = network("shufflenet_v2_x0_5", settings)
    optimizer = build(adapted.model, plan, settings)

    def rate(epoch: int, step: int) -> float:
        set_rates(optimizer, plan, epoch, 4 * (epoch - plan.cycle(epoch)[0]) + step, 4, settings.warmup)
        return max(group["lr"] for group in optimizer.param_groups)

    assert rate(2, 0) < rate(2, 1) < rate(3, 1)
    assert rate(2, 0) < 0.25 * 0.001
    assert rate(0, 0) < rate(0, 1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_gradient_is_found(bad: float) -> None:
    """A single non-finite entry is enough; parameters without a gradient don't matter."""
    layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))
    for layer in (layers[0], layers[1]):
        for parameter in layer.parameters():
            parameter.grad = torch.ones_like(parameter)
    assert all_finite(layers.parameters())
    gradient = layers[1].weight.grad
    assert isinstance(gradient, torch.Tensor)
    gradient[1, 2] = bad
    assert not all_finite(layers.parameters())
