"""What some strategies measure before they train: a learning rate, and how much each part wants to move."""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tasks.data.augmentation import Augmentation
from tasks.files import read_json
from tasks.params import FIND, PhaseParams, StrategyParams
from tasks.strategies import freezing, planning
from tasks.strategies.freezing import FreezePlan, Group
from tasks.strategies.planning import Measured
from tasks.strategies.surgery import Adapted
from tasks.training.batches import Batch, Split, training_batches
from tasks.training.device import Hardware
from tasks.training.folding import folded
from tasks.training.gradients import Gradients
from tasks.training.inference import to_device
from tasks.training.optim import build
from tasks.training.resolution import resized, sides_of

LOWEST_RATE, HIGHEST_RATE, RANGE_STEPS = 1e-6, 1.0, 60
SMOOTHING = 0.9
GONE = 4.0  # times the lowest loss: from there on it only gets worse
RGN_BATCHES = 5
SMALLEST_SHARE = 1e-3

Curve = list[tuple[float, float]]


@dataclass(frozen=True)
class Trial:
    """What a measurement may use: nothing but the training split.

    Attributes:
        settings: the strategy's.
        pretraining_lr: the rate that the weights were trained with; None if nobody knows.
        train: the training split.
        augment: changes of its images.
        hardware: device and precision.
    """

    settings: StrategyParams
    pretraining_lr: float | None
    train: Split
    augment: Augmentation
    hardware: Hardware


@dataclass(frozen=True)
class Measurement:
    """What was measured, and at what cost.

    Attributes:
        measured: what the plan takes from it.
        curves: of each learning-rate range test (rate, smoothed loss) a step, by the phase's place.
        seconds: that it took.
    """

    measured: Measured = field(default_factory=Measured)
    curves: dict[int, Curve] = field(default_factory=dict)
    seconds: float = 0.0

    @classmethod
    def read(cls, source: Path) -> "Measurement":
        """Read what an attempt measured."""
        content = read_json(source)
        rates = {int(place): rate for place, rate in content["measured"]["rates"].items()}
        curves = {int(place): [(rate, loss) for rate, loss in curve] for place, curve in content["curves"].items()}
        return cls(Measured(rates, content["measured"]["shares"]), curves, content["seconds"])


def needs_measuring(settings: StrategyParams) -> bool:
    """Return whether a strategy's plan depends on a measurement."""
    return settings.auto_rgn or any(map(_finds_its_rate, settings.schedule()))


def measure(make: Callable[[], tuple[Adapted, tuple[Group, ...]]], trial: Trial) -> Measurement:
    """Measure what a strategy's plan needs, on networks that are thrown away afterwards.

    Args:
        make: returns a new network and its groups.
        trial: settings, training images and device.
    """
    started = time.monotonic()
    settings = trial.settings
    shares: dict[str, float] = {}
    if settings.auto_rgn:
        everything = PhaseParams(train=tuple(s for p in settings.schedule() for s in p.train), epochs=1, lr=1.0)
        adapted, plan = _planned(make, _with_single_phase(settings, everything), trial, Measured())
        shares = relative_gradient_norms(adapted, plan, trial)
    curves = {}
    for place, phase in enumerate(settings.schedule()):
        if _finds_its_rate(phase):
            one_epoch = _with_single_phase(settings, phase.model_copy(update={"epochs": 1, "lr": 1.0}))
            curves[place] = range_test(*_planned(make, one_epoch, trial, Measured(shares=shares)), trial)
    rates = {place: suggested_rate(curve) for place, curve in curves.items()}
    return Measurement(Measured(rates, shares), curves, time.monotonic() - started)


def relative_gradient_norms(adapted: Adapted, plan: FreezePlan, trial: Trial) -> dict[str, float]:
    """Return how large each part's gradient is against its weights, as a share of the largest (Auto-RGN).

    The norms are averaged over some batches before training (Lee et al., Surgical Fine-Tuning Improves Adaptation to
    Distribution Shifts, ICLR 2023, measure them again in every epoch; once keeps a plan a function of nothing but
    the epoch). A new head starts small and random: it is left out and keeps the full rate.
    """
    freezing.apply(plan, adapted.model, 0, update_statistics=False)
    ratios: dict[str, float] = {}
    with folded(adapted.model):
        add_gradients = _gradients(adapted, trial)
        for batch in _batches(adapted, plan, trial, RGN_BATCHES):
            add_gradients(batch)
            for group in plan.groups:
                pairs = [p for p in map(adapted.model.get_parameter, group.parameters) if p.grad is not None]
                if pairs and group.part not in adapted.with_new_weights:
                    gradient = math.sqrt(sum(float(p.grad.square().sum()) for p in pairs if p.grad is not None))
                    weight = math.sqrt(sum(float(p.detach().square().sum()) for p in pairs))
                    ratios[group.part] = ratios.get(group.part, 0.0) + gradient / max(weight, 1e-12)
            adapted.model.zero_grad()
    largest = max(ratios.values(), default=1.0) or 1.0
    return {part: max(ratio / largest, SMALLEST_SHARE) for part, ratio in ratios.items()}


def range_test(adapted: Adapted, plan: FreezePlan, trial: Trial) -> Curve:
    """Raise the learning rate step by step until the loss explodes; return the rates and the smoothed losses.

    Smith, Cyclical Learning Rates for Training Neural Networks (WACV 2017, section 3.3).
    """
    freezing.apply(plan, adapted.model, 0, update_statistics=trial.settings.updates_statistics)
    optimizer = build(adapted.model, plan, trial.settings)
    rates = plan.rates(0)
    curve: Curve = []
    average = 0.0
    with folded(adapted.model):
        add_gradients = _gradients(adapted, trial)
        for batch in _batches(adapted, plan, trial, RANGE_STEPS):
            rate = LOWEST_RATE * (HIGHEST_RATE / LOWEST_RATE) ** (len(curve) / (RANGE_STEPS - 1))
            for group in optimizer.param_groups:
                group["lr"] = rates.get(group["name"], 0.0) * rate
            loss = add_gradients(batch)
            if not math.isfinite(loss):
                break
            optimizer.step()
            optimizer.zero_grad()
            average = SMOOTHING * average + (1 - SMOOTHING) * loss
            curve.append((rate, average / (1 - SMOOTHING ** (len(curve) + 1))))
            if curve[-1][1] > GONE * min(value for _, value in curve):
                break
    return curve


def suggested_rate(curve: Curve) -> float:
    """Return a tenth of the rate at which a range test's loss was lowest."""
    return min(curve, key=lambda point: point[1])[0] / 10 if curve else LOWEST_RATE


def _finds_its_rate(phase: PhaseParams) -> bool:
    return phase.lr == FIND and phase.solver != "lbfgs"


def _planned(
    make: Callable[[], tuple[Adapted, tuple[Group, ...]]], settings: StrategyParams, trial: Trial, measured: Measured
) -> tuple[Adapted, FreezePlan]:
    adapted, groups = make()
    return adapted, planning.plan(settings, groups, adapted.new, trial.pretraining_lr, measured)


def _with_single_phase(settings: StrategyParams, phase: PhaseParams) -> StrategyParams:
    schedule = {"phases": (phase,), "train": None, "milestones": None, "gradual": None}
    return settings.model_copy(update=schedule)


def _gradients(adapted: Adapted, trial: Trial) -> Callable[[Batch], float]:
    adapted.model.to(trial.hardware.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    gradients = Gradients(adapted, trial.settings, trial.hardware, trial.train)
    return lambda batch: gradients(adapted.model, *batch)


def _batches(adapted: Adapted, plan: FreezePlan, trial: Trial, count: int) -> Iterator[Batch]:
    """Yield as many training batches as asked for, over several epochs where needed, of the size that most have."""
    settings = trial.settings.model_copy(update={"full_size_epochs": 0})
    _, full, _, channels = trial.train.store.shape
    side = sides_of(adapted, settings, plan, full, channels).behind_thaw_line[0]
    torch.manual_seed(settings.seed)
    epochs = (
        training_batches(
            trial.train, settings.batch_size, trial.augment, settings.seed, epoch, sampling=settings.sampling
        )
        for epoch in itertools.count()
    )
    for batch in itertools.islice(itertools.chain.from_iterable(epochs), count):
        yield batch._replace(inputs=to_device(adapted, resized(batch.inputs, side), trial.hardware))
