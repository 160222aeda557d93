"""The freeze plan: which part of a network trains in which epoch, and how fast.

The state is a pure function of the epoch. Every parameter and buffer belongs to exactly one group from the start, so
that no optimizer group is ever added in mid-run and resuming is loading a state.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from tasks.backbones.zoo import Part
from tasks.errors import UserError

NORMS_WITH_STATISTICS = (nn.modules.batchnorm._BatchNorm,)


@dataclass(frozen=True)
class Group:
    """Parameters and buffers that freeze and thaw together.

    Attributes:
        parameters: names of the parameters, in the network's order.
        buffers: names of the buffers (BatchNorm statistics).
        modules: names of the modules, whose mode (training or evaluation) follows the group.
        size: number of weights in all parameters.
    """

    name: str
    parameters: tuple[str, ...]
    buffers: tuple[str, ...]
    modules: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class Phase:
    """Epochs in which the same groups train: peak learning rate by group; a group that isn't named is frozen."""

    epochs: int
    rates: Mapping[str, float]


@dataclass(frozen=True)
class FreezePlan:
    """Groups from the image to the logits, and the phases in order."""

    groups: tuple[Group, ...]
    phases: tuple[Phase, ...]

    @property
    def epochs(self) -> int:
        """Number of epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)

    def phase(self, epoch: int) -> tuple[int, int]:
        """Return the index of the phase that ``epoch`` (from 0) falls into, and the phase's first epoch.

        Raises:
            IndexError: the plan has no such epoch.
        """
        first = 0
        for index, phase in enumerate(self.phases):
            if first <= epoch < first + phase.epochs:
                return index, first
            first += phase.epochs
        raise IndexError(f"epoch {epoch} is outside the plan's {self.epochs}")

    def rates(self, epoch: int) -> Mapping[str, float]:
        """Return the peak learning rate of every group that trains in ``epoch``."""
        return self.phases[self.phase(epoch)[0]].rates

    def thaws_at(self, group: str) -> int | None:
        """Return the first epoch in which a group trains, or None if it never does."""
        return next((epoch for epoch in range(self.epochs) if group in self.rates(epoch)), None)

    def never_moved(self, *, update_statistics: bool) -> list[str]:
        """Return the names of the parameters and buffers that no epoch may change.

        Without ``update_statistics`` these are also the buffers of groups that train.
        """
        names: list[str] = []
        for group in self.groups:
            frozen = self.thaws_at(group.name) is None
            names += group.parameters if frozen else ()
            names += group.buffers if frozen or not update_statistics else ()
        return names

    def trainable(self) -> int:
        """Return the number of weights that train in some epoch."""
        return sum(group.size for group in self.groups if self.thaws_at(group.name) is not None)

    def lines(self) -> list[str]:
        """Return the plan as text: a line a group, from the image to the logits, and what trains in all."""
        width = max(len(group.name) for group in self.groups)
        lines = []
        for group in self.groups:
            epoch = self.thaws_at(group.name)
            state = "frozen" if epoch is None else f"trains from epoch {epoch + 1}"
            lines.append(f"{group.name:<{width}}  {group.size:>11,} parameters  {state}")
        total = sum(group.size for group in self.groups)
        return [*lines, f"trains {self.trainable():,} of {total:,} parameters in {self.epochs} epochs"]


def group_by_part(model: nn.Module, parts: Sequence[Part]) -> tuple[Group, ...]:
    """Sort every parameter, buffer and leaf module of a network into the group of its part.

    Raises:
        UserError: a parameter or buffer belongs to no part, or to two.
    """
    parameters = dict(model.named_parameters())
    buffers = dict(model.named_buffers())
    for name in (*parameters, *buffers):
        owners = [part.name for part in parts if part.owns(name)]
        if len(owners) != 1:
            found = "no part of the network" if not owners else f"more than one part ({', '.join(owners)})"
            raise UserError(f"the freeze plan: '{name}' belongs to {found}; the parts are {_names(parts)}")
    leaves = [name for name, module in model.named_modules() if name and not any(module.children())]
    return tuple(
        Group(
            part.name,
            tuple(name for name in parameters if part.owns(name)),
            tuple(name for name in buffers if part.owns(name)),
            tuple(name for name in leaves if part.owns(name)),
            sum(parameters[name].numel() for name in parameters if part.owns(name)),
        )
        for part in parts
    )


def apply(plan: FreezePlan, model: nn.Module, epoch: int, *, update_statistics: bool) -> None:
    """Bring a network into the state that a plan gives an epoch, ready for training.

    A frozen parameter neither requires nor keeps a gradient, so that no optimizer can move it by weight decay or
    momentum. A frozen group's modules are in evaluation mode, so that BatchNorm keeps its statistics and dropout is
    off. In groups that train, BatchNorm updates its statistics only with ``update_statistics``.
    """
    rates = plan.rates(epoch)
    model.eval()
    for group in plan.groups:
        trains = group.name in rates
        for name in group.parameters:
            parameter = model.get_parameter(name)
            parameter.requires_grad_(trains)
            parameter.grad = None
        for name in group.modules:
            module = model.get_submodule(name)
            module.train(trains and (update_statistics or not isinstance(module, NORMS_WITH_STATISTICS)))


def digests(model: nn.Module, names: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of each named parameter or buffer's bytes."""
    state: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: hashlib.sha256(_bytes(state[name])).hexdigest() for name in names}


def prove_frozen(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Compare the digests of what a plan froze.

    Raises:
        RuntimeError: a frozen tensor changed; names it.
    """
    moved = [name for name, digest in before.items() if after[name] != digest]
    if moved:
        raise RuntimeError(f"{len(moved)} frozen tensors changed during training, the first is '{moved[0]}'")


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().view(-1).numpy().tobytes()


def _names(parts: Sequence[Part]) -> str:
    return ", ".join(part.name for part in parts)
