"""The freeze plan: which part of a network trains in which epoch, and how fast.

The state is a pure function of the epoch. Every parameter and buffer belongs to exactly one group from the start, so
that no optimizer group is ever added in mid-run and resuming is loading a state.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tasks.strategies.selectors import AUXILIARY

NORMS_WITH_STATISTICS = (nn.modules.batchnorm._BatchNorm,)
REST = "rest"


@dataclass(frozen=True)
class Group:
    """Parameters and buffers that freeze and thaw together.

    Attributes:
        parameters: names of the parameters, in the network's order.
        buffers: names of the buffers (BatchNorm statistics).
        modules: names of the modules, whose mode (training or evaluation) follows the group.
        size: number of weights in all parameters.
        part: the part of the network that it belongs to; its own name, unless a part was split.
        kind: which of a split part's groups it is (``norms``, ``biases``, ``adapters``, or the ``rest``, which never
            trains); empty for a whole part.
        learns_statistics: whether its BatchNorm layers have no pretrained statistics to keep, and update theirs
            whenever it trains.
    """

    name: str
    parameters: tuple[str, ...]
    buffers: tuple[str, ...]
    modules: tuple[str, ...]
    size: int
    part: str
    kind: str = ""
    learns_statistics: bool = False


@dataclass(frozen=True)
class Phase:
    """Epochs in which the same groups train.

    Attributes:
        rates: peak learning rate by group; a group that isn't named is frozen.
        continues: the schedule of the phase before goes on, instead of warming up again.
        solved: the head is solved in one go; the rates only say that it trains.
    """

    epochs: int
    rates: Mapping[str, float]
    continues: bool = False
    solved: bool = False

    def __post_init__(self) -> None:
        """Refuse rates that freeze nothing.

        Raises:
            ValueError: a rate of 0: the group would count as one that trains, with its statistics and its decay.
        """
        for group, rate in self.rates.items():
            if not rate > 0:
                raise ValueError(f"the rate {rate} does not freeze {group}: leave it out of the phase")


@dataclass(frozen=True)
class FreezePlan:
    """Groups from the image to the logits, and the phases in order."""

    groups: tuple[Group, ...]
    phases: tuple[Phase, ...]

    @property
    def epochs(self) -> int:
        """Number of epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)

    @property
    def first_epoch_of_last_phase(self) -> int:
        """The epoch (from 0) from which on epochs compete for the best: all that shall train does."""
        return self.epochs - self.phases[-1].epochs

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

    def ends_phase(self, epoch: int) -> bool:
        """Return whether ``epoch`` is the last one of its phase."""
        index, first = self.phase(epoch)
        return epoch == first + self.phases[index].epochs - 1

    def cycle(self, epoch: int) -> tuple[int, int]:
        """Return the first epoch and the number of epochs of the schedule that ``epoch`` is part of."""
        index, first = self.phase(epoch)
        last = first + self.phases[index].epochs
        for later in self.phases[index + 1 :]:
            if not later.continues:
                break
            last += later.epochs
        while index and self.phases[index].continues:
            index -= 1
            first -= self.phases[index].epochs
        return first, last - first

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
            names += group.buffers if frozen or not (update_statistics or group.learns_statistics) else ()
        return names

    def trainable(self) -> int:
        """Return the number of weights that train in some epoch."""
        return sum(group.size for group in self.groups if self.thaws_at(group.name) is not None)

    def lines(self) -> list[str]:
        """Return the plan as a picture in text: a line a group, from the image to the logits, a column a phase."""
        width = max(len(group.name) for group in self.groups)
        lines = []
        for group in self.groups:
            epoch = self.thaws_at(group.name)
            state = "frozen" if epoch is None else f"trains from epoch {epoch + 1}"
            lines.append(
                f"{group.name:<{width}}  {''.join(self._blocks(group.name))}  {group.size:>11,} parameters  {state}"
            )
        total = sum(group.size for group in self.groups)
        return [*lines, f"trains {self.trainable():,} of {total:,} parameters in {self.epochs} epochs"]

    def _blocks(self, group: str) -> Iterator[str]:
        """Yield a block a phase: light where the group is frozen, the darker the nearer its rate is to the highest."""
        highest = max((rate for p in self.phases if not p.solved for rate in p.rates.values()), default=0.0)
        for phase in self.phases:
            rate = phase.rates.get(group, 0.0)
            yield (
                "░" if not rate else "█" if phase.solved or rate > highest / 3 else "▓" if rate > highest / 30 else "▒"
            )


def apply(plan: FreezePlan, model: nn.Module, epoch: int, *, update_statistics: bool) -> None:
    """Bring a network into the state that a plan gives an epoch, ready for training.

    A frozen parameter neither requires nor keeps a gradient, so that no optimizer can move it by weight decay or
    momentum. A frozen group's modules are in evaluation mode, so that BatchNorm keeps its statistics and dropout is
    off. In groups that train, BatchNorm updates its statistics only with ``update_statistics``, or
    if it has none to keep. A network with auxiliary classifiers answers their logits, too, while these train.
    """
    rates = plan.rates(epoch)
    model.eval()
    model.training = AUXILIARY in rates
    for group in plan.groups:
        trains = group.name in rates
        for name in group.parameters:
            parameter = model.get_parameter(name)
            parameter.requires_grad_(trains)
            parameter.grad = None
        for name in group.modules:
            module = model.get_submodule(name)
            learns = update_statistics or group.learns_statistics
            module.training = trains and (learns or not isinstance(module, NORMS_WITH_STATISTICS))


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
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
