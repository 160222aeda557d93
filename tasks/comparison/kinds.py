"""Kinds of fine-tuning: what a strategy trains, whatever it is called."""

from collections.abc import Sequence
from enum import StrEnum

from tasks.params import StrategyParams
from tasks.strategies.selectors import AUXILIARY, select


class Kind(StrEnum):
    """What a strategy trains, whatever it is called."""

    SCRATCH = "from scratch"
    HEAD = "head only"
    LATE = "late stages and head"
    EARLY = "early layers and head"
    FULL = "everything at once"
    GENTLE = "everything, gently"
    ADAPTERS = "few weights of every layer"


def kind_of(settings: StrategyParams, parts: Sequence[str]) -> Kind:
    """Return what kind of fine-tuning a strategy is.

    Args:
        settings: the strategy.
        parts: names of the network's parts, from the image to the logits.

    Raises:
        UserError: a selector that names no part of this network.
    """
    if settings.start == "random":
        return Kind.SCRATCH
    names = list(settings.groups) if settings.groups else _parts_of(settings, parts)
    body = [name for name in names[:-1] if name != AUXILIARY and not name.startswith("new")]
    schedule = settings.schedule()
    phases = [{*select(phase.train, names)} & {*body} for phase in schedule]
    trained = set().union(*phases)
    if not trained:
        return Kind.HEAD
    if settings.adapters or settings.only != "all":
        return Kind.ADAPTERS
    if trained < {*body}:
        return Kind.LATE if body[-1] in trained else Kind.EARLY
    held_back = settings.gradual or settings.layer_decay or settings.l2_sp or settings.wise_ft or settings.auto_rgn
    own_rates = any(isinstance(phase.lr, dict) for phase in schedule)
    return Kind.GENTLE if held_back or own_rates or phases[0] != trained else Kind.FULL


def _parts_of(settings: StrategyParams, parts: Sequence[str]) -> list[str]:
    """Return the names of the parts that a strategy's network has, after stages were cut off and put in."""
    stages = [part for part in parts if part.startswith("stage")]
    gone = stages[len(stages) - settings.cut :]
    kept = [part for part in parts if part not in gone]
    return [*kept[:-1], *(f"new{place}" for place in range(1, settings.insert + 1)), *kept[-1:]]
