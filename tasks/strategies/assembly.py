"""A strategy's network before training: surgery, adapters, and the groups that freeze and thaw together."""

from torch import Tensor

from tasks.backbones.architecture import Architecture
from tasks.params import StrategyParams
from tasks.strategies import adapters, grouping, planning, surgery
from tasks.strategies.freezing import Group
from tasks.strategies.surgery import Adapted


def assemble(
    architecture: Architecture,
    state: dict[str, Tensor] | None,
    size: int,
    classes: int,
    channels: int,
    settings: StrategyParams,
) -> tuple[Adapted, tuple[Group, ...]]:
    """Return the network that a strategy trains, with its adapters, and its groups; the arguments are ``adapt``'s.

    Raises:
        UserError: the network can't be changed, or has not what the strategy names.
    """
    adapted = surgery.adapt(architecture, state, size, classes, channels, settings)
    if not settings.adapters:
        return adapted, grouping.groups_of(settings, adapted)
    parts = planning.trained_parts(settings, adapted.parts)
    adapters.inject(adapted, settings.adapters, parts, size, channels)
    return adapted, grouping.groups_of(settings, adapted, adapters.trainable_names(adapted.model))
