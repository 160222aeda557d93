"""A strategy's settings become a freeze plan: selectors are resolved to groups, relative rates to numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasks.backbones.architecture import Part
from tasks.errors import UserError
from tasks.params import FIND, PRETRAINING_RATE, PhaseParams, StrategyParams
from tasks.strategies.freezing import REST, FreezePlan, Group, Phase
from tasks.strategies.grouping import ADAPTERS
from tasks.strategies.selectors import AUXILIARY, HEAD, select
from tasks.strategies.surgery import Adapted

ADAPTIVE = {"adamw"}  # optimizers whose steps are as long as the rate, whatever the gradient


@dataclass(frozen=True)
class Measured:
    """What a plan takes from a measurement before training.

    Attributes:
        rates: the learning rate found for a phase, by the phase's place.
        shares: the share of the rate that a part trains at, by the part's name (Auto-RGN).
    """

    rates: Mapping[int, float] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)


def plan(
    settings: StrategyParams,
    groups: tuple[Group, ...],
    new: Sequence[str] = (),
    pretraining_lr: float | None = None,
    measured: Measured | None = None,
) -> FreezePlan:
    """Return the freeze plan of a strategy for a network's groups.

    Args:
        settings: the strategy.
        groups: from the image to the logits.
        new: names of the parts that train in every phase, because their weights are new.
        pretraining_lr: the rate that the weights were trained with; None if nobody knows.
        measured: what a measurement before training found, for the strategies that need one.

    Raises:
        UserError: a selector that names no group of this network, a rate that is not to be had, or too few epochs.
    """
    parts = list(dict.fromkeys(group.part for group in groups))
    phases = []
    for index, phase in enumerate(settings.schedule()):
        chosen = {*select(phase.train, parts), *new} & {*parts}
        solved = phase.solver == "lbfgs"
        if solved and chosen - {HEAD}:
            raise UserError(
                "params.yaml: 'solver: lbfgs' solves a head that trains alone, but with new weights "
                f"{', '.join(sorted(chosen - {HEAD}))} trains, too: leave 'solver' out, or freeze it with 'stem.frozen'"
            )
        peaks = _peak_rates(settings, phase, parts, pretraining_lr, measured or Measured(), index)
        for epochs, thawed, continues in _thawing(settings, phase, [part for part in parts if part in chosen], new):
            rates = {g.name: _rate_of(g.part, peaks) for g in groups if g.part in thawed and _can_train(g)}
            if not any(group.size for group in groups if group.name in rates):
                having = dict.fromkeys(group.part for group in groups if _can_train(group) and group.size)
                raise UserError(
                    f"params.yaml: nothing trains in {', '.join(thawed)}, which have no {_kind(settings)}; "
                    f"parts that have are {', '.join(having)}"
                )
            phases.append(Phase(epochs, rates, continues, solved))
    return FreezePlan(groups, tuple(phases))


def is_new(name: str, group: Group, adapted: Adapted) -> bool:
    """Return whether a tensor of a group has no pretrained value to start from."""
    is_of_new_part = group.part in adapted.with_new_weights
    return is_of_new_part or group.kind == ADAPTERS or name.startswith(f"{adapted.head}.")


def pretrained(plan: FreezePlan, adapted: Adapted) -> list[str]:
    """Return the names of the parameters that train and have pretrained values to start from."""
    return [
        name
        for group in plan.groups
        if plan.thaws_at(group.name) is not None
        for name in group.parameters
        if not is_new(name, group, adapted)
    ]


def trained_parts(settings: StrategyParams, parts: Sequence[Part]) -> tuple[str, ...]:
    """Return the names of the parts that some phase of a strategy selects.

    Raises:
        UserError: a selector that names no part of this network.
    """
    names = [part.name for part in parts]
    return select([selector for phase in settings.schedule() for selector in phase.train], names)


def learning_rate(rate: float | str, pretraining_lr: float | None) -> float:
    """Return a learning rate as a number; ``pretraining/10`` is a tenth of the rate the weights were trained with.

    Raises:
        UserError: nobody knows that rate.
    """
    if isinstance(rate, float):
        return rate
    relative = PRETRAINING_RATE.fullmatch(rate)
    if relative is None:
        raise UserError(f"params.yaml: '{rate}' is not a learning rate (a number, pretraining/10, or find)")
    if pretraining_lr is None:
        raise UserError(
            f"params.yaml: 'lr: {rate}' needs the rate that the weights were trained with: give it as backbone.lr"
        )
    return pretraining_lr / float(relative["divisor"] or 1)


def check_relative_rates(settings: StrategyParams, trained_with: str | None, pretraining_lr: float | None) -> None:
    """Check that rates relative to the pretraining's are for the optimizer that the strategy has.

    A step of Adam is as long as its rate, whatever the gradient; one of SGD is not, and its rates are larger by ten to
    a hundred times.

    Args:
        settings: of the strategy.
        trained_with: the optimizer that the weights were trained with; None if nobody knows.
        pretraining_lr: its rate.

    Raises:
        UserError: they are for one of another kind.
    """
    if trained_with is None or (trained_with in ADAPTIVE) == (settings.optimizer in ADAPTIVE):
        return
    usual, other = ("0.0003", "sgd") if settings.optimizer in ADAPTIVE else ("0.01", "adamw")
    for phase in settings.schedule():
        for rate in phase.lr.values() if isinstance(phase.lr, dict) else (phase.lr,):
            if PRETRAINING_RATE.fullmatch(str(rate)) and phase.solver != "lbfgs":
                raise UserError(
                    f"params.yaml: 'lr: {rate}' is relative to a rate for {trained_with} ({pretraining_lr}), which is "
                    f"none for {settings.optimizer}: write a number such as {usual}, or 'optimizer: {other}'"
                )


def _thawing(
    settings: StrategyParams, phase: PhaseParams, chosen: list[str], new: Sequence[str]
) -> list[tuple[int, list[str], bool]]:
    """Return (epochs, parts that train, whether the schedule continues) of each step of a phase."""
    if phase.epochs is None:
        raise TypeError("a phase must come from StrategyParams.schedule, which fills in every value")
    if not settings.gradual:
        return [(phase.epochs, chosen, phase.continues)]
    always = [part for part in chosen if part in {HEAD, AUXILIARY, *new}]
    below = [part for part in reversed(chosen) if part not in always]
    thawed = [always + below[:count] for count in range(0 if always else 1, len(below) + 1)]
    before_last = settings.gradual * (len(thawed) - 1)
    if phase.epochs <= before_last:
        raise UserError(
            f"params.yaml: 'gradual: {settings.gradual}' thaws {len(thawed)} parts in turn, which takes more than "
            f"{phase.epochs} epochs: set 'epochs' to {before_last + 1} or more"
        )
    lengths = [settings.gradual] * (len(thawed) - 1) + [phase.epochs - before_last]
    return [(epochs, parts, place > 0) for place, (epochs, parts) in enumerate(zip(lengths, thawed, strict=True))]


def _peak_rates(
    settings: StrategyParams,
    phase: PhaseParams,
    parts: Sequence[str],
    pretraining_lr: float | None,
    measured: Measured,
    index: int,
) -> dict[str, float]:
    """Return the peak rate of every part that the phase has one for."""
    given: dict[str, float | str] = {}
    if phase.solver == "lbfgs":
        given = dict.fromkeys(parts, 1.0)
    elif isinstance(phase.lr, dict):
        for selector, rate in phase.lr.items():
            given |= dict.fromkeys(select([selector], parts, "lr"), rate)
    elif phase.lr is not None:
        given = dict.fromkeys(parts, measured.rates[index] if phase.lr == FIND else phase.lr)
    body = [part for part in parts if part not in {HEAD, AUXILIARY} and not part.startswith("new")]
    peaks = {}
    for part, rate in given.items():
        below_head = len(body) - body.index(part) if part in body else 0
        decay = (settings.layer_decay or 1.0) ** below_head
        peaks[part] = learning_rate(rate, pretraining_lr) * measured.shares.get(part, 1.0) * decay
    return peaks


def _rate_of(part: str, peaks: Mapping[str, float]) -> float:
    if part not in peaks:
        raise UserError(
            f"params.yaml: '{part}' trains, but 'lr' gives no rate for it: add a line such as '{part}: 0.0001'"
        )
    return peaks[part]


def _can_train(group: Group) -> bool:
    return group.kind != REST and bool(group.parameters or group.buffers)


def _kind(settings: StrategyParams) -> str:
    return "adapters" if settings.adapters else "weights" if settings.only == "all" else settings.only
