"""Averages of weights: over the steps of a training, over several trainings, and with the weights before it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tasks.backbones.architecture import State
from tasks.training.sharding import shard_like

LossOf = Callable[[State], float]


class MovingAverage:
    """The exponential moving average of named tensors (Polyak and Juditsky, 1992; decay warmed up as in Inception v2).

    Whole numbers (BatchNorm's count of batches) are copied.
    """

    def __init__(self, model: nn.Module, names: Sequence[str], decay: float) -> None:
        state = model.state_dict()
        self._live = {name: state[name] for name in names}
        self._decay = decay
        self.values = {name: tensor.detach().clone() for name, tensor in self._live.items()}

    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Take over an average from a checkpoint."""
        for name, value in values.items():
            self.values[name].copy_(shard_like(self.values[name], value))

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Take a step's weights in; ``updates`` is the number of steps taken in before."""
        decay = min(self._decay, (1 + updates) / (10 + updates))
        for name, value in self.values.items():
            live = self._live[name]
            if value.is_floating_point():
                value.lerp_(live, 1 - decay)
            else:
                value.copy_(live)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average into the network for as long as the block runs."""
        kept = {name: tensor.detach().clone() for name, tensor in self._live.items()}
        self._fill(self.values)
        try:
            yield
        finally:
            self._fill(kept)

    @torch.no_grad()
    def _fill(self, values: Mapping[str, Tensor]) -> None:
        for name, tensor in self._live.items():
            tensor.copy_(values[name])


def greedy_soup(members: Sequence[State], losses: Sequence[float], loss_of: LossOf) -> tuple[State, list[int], float]:
    """Average fine-tuned weights as long as that lowers the validation loss (Wortsman et al., ICML 2022, recipe 1).

    Args:
        members: the same tensors of every training.
        losses: their validation losses.
        loss_of: validation loss of an average.

    Returns:
        The average, the places of the members that are in it (the best one first), and its validation loss.
    """
    order = sorted(range(len(members)), key=lambda place: losses[place])
    taken, soup, lowest = order[:1], members[order[0]], losses[order[0]]
    for place in order[1:]:
        candidate = _mean([members[other] for other in (*taken, place)])
        loss = loss_of(candidate)
        if loss <= lowest:
            taken, soup, lowest = [*taken, place], candidate, loss
    return soup, taken, lowest


def best_mixture(before: State, after: State, shares: Sequence[float], loss_of: LossOf) -> tuple[State, float, float]:
    """Interpolate between the weights before and after fine-tuning (WiSE-FT, Wortsman et al., CVPR 2022).

    Args:
        before: what is mixed in; tensors that it lacks stay as they are after fine-tuning.
        after: the fine-tuned weights.
        shares: of the fine-tuned weights; of several the one with the lowest validation loss is taken.
        loss_of: validation loss of a mixture.

    Returns:
        The mixture, its share, and its validation loss.
    """
    mixtures = [(after | _mixed(before, after, share), share) for share in shares]
    losses = [loss_of(mixture) for mixture, _ in mixtures]
    chosen = min(range(len(shares)), key=losses.__getitem__)
    return *mixtures[chosen], losses[chosen]


def _mixed(before: State, after: State, share: float) -> State:
    return {name: torch.lerp(start, after[name], share) for name, start in before.items() if start.is_floating_point()}


def _mean(states: Sequence[State]) -> State:
    return {
        name: torch.stack([state[name] for state in states]).mean(0) if tensor.is_floating_point() else tensor
        for name, tensor in states[0].items()
    }
