"""Strategies by name become freeze plans: selectors are resolved to groups, relative rates to numbers."""

import re
from collections.abc import Sequence

from tasks.backbones.weights import WeightsRecord
from tasks.errors import UserError
from tasks.params import PRETRAINING_RATE, PhaseParams, StrategyParams
from tasks.strategies.freezing import FreezePlan, Group, Phase

SLICE = re.compile(r"stages\[(?P<start>-?\d+)?(?:(?P<colon>:)(?P<stop>-?\d+)?)?\]")


def plan(strategy: StrategyParams, groups: tuple[Group, ...], record: WeightsRecord) -> FreezePlan:
    """Return the freeze plan of a strategy for a network's groups.

    Raises:
        UserError: a selector that names no group of this network.
    """
    return FreezePlan(groups, tuple(_phase(phase, groups, record) for phase in strategy.schedule()))


def select(selectors: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the groups that selectors stand for, in the network's order.

    A selector is ``all``, ``stem``, ``stages``, ``head``, the name of a group such as ``stage3``, or a slice of the
    stages in Python's notation, such as ``stages[3:]`` (all but the first three) or ``stages[-1]`` (the last).

    Raises:
        UserError: a selector that stands for nothing.
    """
    stages = [name for name in names if name.startswith("stage")]
    chosen: set[str] = set()
    for selector in selectors:
        chosen.update(_selected(selector, stages, names))
    return tuple(name for name in names if name in chosen)


def learning_rate(rate: float | str, record: WeightsRecord) -> float:
    """Return a learning rate as a number; ``pretraining/10`` is a tenth of the rate the weights were trained with."""
    if isinstance(rate, float):
        return rate
    relative = PRETRAINING_RATE.fullmatch(rate)
    if relative is None:
        raise UserError(f"params.yaml: '{rate}' is not a learning rate (a number, or pretraining/10)")
    return record.lr / float(relative["divisor"] or 1)


def _phase(phase: PhaseParams, groups: tuple[Group, ...], record: WeightsRecord) -> Phase:
    if phase.epochs is None or phase.lr is None:
        raise TypeError("a phase must come from StrategyParams.schedule, which fills in every value")
    chosen = select(phase.train, [group.name for group in groups])
    return Phase(phase.epochs, dict.fromkeys(chosen, learning_rate(phase.lr, record)))


def _selected(selector: str, stages: list[str], names: Sequence[str]) -> list[str]:
    if selector == "all":
        return list(names)
    if selector == "stages":
        return stages
    if selector in names:
        return [selector]
    found = SLICE.fullmatch(selector.replace(" ", ""))
    if found and (found["start"] or found["colon"]):
        start, stop = (int(found[key]) if found[key] else None for key in ("start", "stop"))
        if found["colon"]:
            chosen = stages[start:stop]
        else:
            chosen = stages[start:][:1] if start is not None and -len(stages) <= start < len(stages) else []
        if chosen:
            return chosen
    raise UserError(
        f"params.yaml: 'train: {selector}' selects nothing of this network; choose from all, {', '.join(names)}, "
        f"or a slice of its {len(stages)} stages such as stages[{len(stages) - 1}:]"
    )
