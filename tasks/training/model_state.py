"""A network's tensors by name: copied out, put back, and which of them a plan changes."""

from collections.abc import Iterable

from torch import nn

from tasks.backbones.architecture import State
from tasks.params import StrategyParams
from tasks.strategies.freezing import FreezePlan
from tasks.training.sharding import full_tensor, shard_like


def names_that_change(model: nn.Module, plan: FreezePlan, settings: StrategyParams) -> list[str]:
    """Return the names of the tensors that some epoch of a plan may change."""
    frozen = set(plan.never_moved(update_statistics=settings.updates_statistics))
    return [name for name in model.state_dict() if name not in frozen]


def state_of(model: nn.Module, names: Iterable[str]) -> State:
    """Return copies of a network's tensors on the CPU, by name; all processes of a sharded one have to ask for them."""
    state = model.state_dict()
    return {name: full_tensor(state[name].detach()).cpu().clone() for name in names}


def fill(model: nn.Module, values: State) -> None:
    """Give a network's tensors other values, by name."""
    state = model.state_dict()
    for name, value in values.items():
        state[name].copy_(shard_like(state[name], value))
