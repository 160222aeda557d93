"""What to try next: the few settings of a strategy that change, and the whole strategy as text for ``params.yaml``."""

from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from tasks.params import FIND, PRETRAINING_RATE, PhaseParams, Rates, StrategyParams, TrainParams

Suggestion = dict[str, Any]
SMOOTHING = 0.1  # of labels; Szegedy et al., Rethinking the Inception Architecture, CVPR 2016
FIRST_PULL, STRONGEST_PULL = 0.01, 1.0
SOLVED_HEAD: dict[str, Any] = {"train": ["head"], "solver": "lbfgs"}


def merged(settings: StrategyParams, suggestion: Mapping[str, Any]) -> StrategyParams:
    """Return a strategy's settings with those that a suggestion changes.

    Raises:
        ValidationError: the two do not go together.
    """
    return StrategyParams.model_validate(settings.model_dump() | dict(suggestion))


def as_yaml(name: str, settings: StrategyParams, suggestion: Mapping[str, Any], shared: TrainParams) -> str:
    """Return a whole strategy with a suggestion as text that can be pasted into ``params.yaml``.

    Args:
        name: of the new strategy.
        settings: of the strategy that the suggestion was made for, shared ones included.
        suggestion: the settings that change.
        shared: the section ``train`` of ``params.yaml``; what is the same there is left out.
    """
    chosen = merged(settings, suggestion)
    inherited = StrategyParams.model_construct(**shared.model_dump()).model_dump(mode="json")
    short = chosen.model_dump(mode="json", exclude_defaults=True)
    changed = {
        name: short.get(name, value)
        for name, value in chosen.model_dump(mode="json").items()
        if value != inherited[name]
    }
    yaml, text = YAML(), StringIO()
    yaml.default_flow_style, yaml.width = None, 120
    yaml.dump({"strategies": {name: changed}}, text)
    return text.getvalue()


def schedule_of(settings: StrategyParams, phases: Sequence[int], epoch: int) -> range:
    """Return the places of the phases over which the learning rate rises and falls once, around an epoch.

    Args:
        settings: the strategy's.
        phases: epochs of each phase of its plan.
        epoch: from 0; one behind the last phase counts as one of it.
    """
    if not settings.phases:
        return range(len(phases))
    ends = [sum(phases[: place + 1]) for place in range(len(phases))]
    first = next((place for place, end in enumerate(ends) if epoch < end), len(phases) - 1)
    stop = first + 1
    while first and settings.phases[first].continues:
        first -= 1
    while stop < len(phases) and settings.phases[stop].continues:
        stop += 1
    return range(first, stop)


def other_rate(settings: StrategyParams, schedule: range, factor: float, peak: float) -> Suggestion:
    """Return the settings that multiply a schedule's learning rate.

    Args:
        settings: the strategy's.
        schedule: places of its phases.
        factor: what the rate is multiplied by.
        peak: the rate that the schedule really had, for a strategy that had it found.
    """
    return _with_rates(settings, schedule, lambda lr: _scaled(lr, factor, peak))


def found_rate(settings: StrategyParams, schedule: range) -> Suggestion | None:
    """Return the settings that have a schedule's rate found by a range test, or None where it was found so."""
    if all(lr == FIND for lr in _rates(settings, schedule)):
        return None
    return _with_rates(settings, schedule, lambda _: FIND)


def more_epochs(settings: StrategyParams, times: int = 2) -> Suggestion:
    """Return the settings that have the last phase so many times as long."""
    if not settings.phases:
        return {"epochs": times * settings.epochs}
    *before, last = settings.phases
    return {"phases": _plain([*before, last.model_copy(update={"epochs": times * (last.epochs or settings.epochs)})])}


def regularised(settings: StrategyParams, *, trains_pretrained: bool) -> Suggestion | None:
    """Return settings under which a strategy learns less by heart, or None where all that is tried here is in use.

    Labels are smoothed, and what trains is pulled ten times as hard: pretrained weights towards where they started
    (L2-SP; Li et al., ICML 2018), others towards zero.

    Args:
        settings: the strategy's.
        trains_pretrained: whether pretrained weights train.
    """
    pull = "l2_sp" if trains_pretrained and not settings.adapters else "weight_decay"
    strength = max(10 * getattr(settings, pull), FIRST_PULL)
    suggestion: Suggestion = {pull: strength} if strength <= STRONGEST_PULL else {}
    return suggestion | smoothed(settings) or None


def smoothed(settings: StrategyParams) -> Suggestion:
    """Return the settings that smooth the labels; none where they are smoothed so already."""
    return {"label_smoothing": SMOOTHING} if settings.label_smoothing < SMOOTHING else {}


def thawed_further(settings: StrategyParams, part: str) -> Suggestion | None:
    """Return the settings under which one more part trains, after a head that was solved, or beside what trains.

    Args:
        settings: the strategy's.
        part: what else is to train.

    Returns:
        None for parts of the user's own making, and for milestones.
    """
    if settings.groups or settings.milestones:
        return None
    if settings.schedule()[-1].solver == "lbfgs":
        before = _plain(settings.phases) or [SOLVED_HEAD]
        return {"train": None, "phases": [*before, {"train": [part, "head"], "solver": "steps"}]}
    if settings.train:
        return {"train": [part, *settings.train]}
    *before_last, last = settings.phases
    return {"phases": _plain([*before_last, last.model_copy(update={"train": (part, *last.train)})])}


def head_first(settings: StrategyParams, peak: float) -> Suggestion | None:
    """Return the settings that solve the head first and then train what trained, at a tenth of the rate.

    Kumar et al., Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution, ICLR 2022.

    Args:
        settings: the strategy's.
        peak: the rate that its schedule really had, for a strategy that had it found.

    Returns:
        None for a strategy that has phases already or whose head can't be solved.
    """
    if settings.train is None:
        return None
    after = {"train": list(settings.train), "lr": _scaled(settings.lr, 0.1, peak)}
    suggestion = {"train": None, "phases": [SOLVED_HEAD, after]}
    try:
        merged(settings, suggestion)
    except ValidationError:
        return None
    return suggestion


def _rates(settings: StrategyParams, schedule: range) -> list[Rates]:
    if not settings.phases:
        return [settings.lr]
    return [settings.lr if (lr := settings.phases[place].lr) is None else lr for place in schedule]


def _with_rates(settings: StrategyParams, schedule: range, change: Callable[[Rates], Rates]) -> Suggestion:
    changed = [change(lr) for lr in _rates(settings, schedule)]
    if not settings.phases:
        return {"lr": changed[0]}
    phases = list(settings.phases)
    for place, lr in zip(schedule, changed, strict=True):
        phases[place] = phases[place].model_copy(update={"lr": lr})
    return {"phases": _plain(phases)}


def _plain(phases: Sequence[PhaseParams]) -> list[dict[str, Any]]:
    return [phase.model_dump(mode="json", exclude_defaults=True) for phase in phases]


def _scaled(lr: Rates, factor: float, peak: float) -> Rates:
    if isinstance(lr, dict):
        return {selector: _scaled_rate(rate, factor) for selector, rate in lr.items()}
    return _scaled_rate(peak if lr == FIND else lr, factor)


def _scaled_rate(rate: float | str, factor: float) -> float | str:
    if relative := PRETRAINING_RATE.fullmatch(str(rate)):
        return f"pretraining/{float(relative['divisor'] or 1) / factor:.6g}"
    return float(f"{float(rate) * factor:.6g}")
