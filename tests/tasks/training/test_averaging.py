"""Averages of weights are what their papers say."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tasks.training.averaging import MovingAverage, best_mixture, greedy_soup


def model() -> nn.Module:
    """Return a layer and a norm with statistics."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))


def to_target(target: float) -> Callable[[dict[str, Tensor]], float]:
    """Return a loss that is lowest where the weight is ``target``."""
    return lambda state: abs(float(state["weight"]) - target)


def state(weight: float) -> dict[str, Tensor]:
    """Return a state of one weight and a counter."""
    return {"weight": torch.tensor(weight), "count": torch.tensor(int(weight))}


def test_the_average_follows_slowly() -> None:
    """It lies between where the weights were and where they are, nearer to the past the higher the decay."""
    distances = []
    for decay in (0.5, 0.9, 0.99):
        network = model()
        names = list(network.state_dict())
        start = network.state_dict()["0.weight"].clone()
        average = MovingAverage(network, names, decay)
        with torch.no_grad():
            network[0].weight.add_(1)  # type: ignore[operator, union-attr]
        for updates in range(20):
            average.update(updates)
        moved = average.values["0.weight"] - start
        assert ((moved > 0) & (moved <= 1)).all()
        distances.append(float(moved.mean()))
    assert distances == sorted(distances, reverse=True)


def test_whole_numbers_are_copied() -> None:
    """A count of batches has no meaning between two values."""
    network = model().train()
    average = MovingAverage(network, list(network.state_dict()), 0.9)
    network(torch.randn(4, 3))
    average.update(0)
    assert average.values["1.num_batches_tracked"] == 1


def test_the_weights_come_back() -> None:
    """The average is in the network for as long as it is looked at, also when that fails."""
    network = model()
    average = MovingAverage(network, ["0.weight"], 0.9)
    kept = average.values["0.weight"].clone()
    with torch.no_grad():
        network[0].weight.mul_(3)  # type: ignore[operator, union-attr]
    trained = network.state_dict()["0.weight"].clone()
    with average.in_place():
        assert torch.equal(network.state_dict()["0.weight"], kept)
    assert torch.equal(network.state_dict()["0.weight"], trained)
    with pytest.raises(ZeroDivisionError), average.in_place():
        raise ZeroDivisionError
    assert torch.equal(network.state_dict()["0.weight"], trained)


def test_a_soup_takes_what_helps() -> None:
    """It starts with the best member, and leaves out one that would make the average worse."""
    members = [state(2.0), state(0.0), state(9.0)]
    loss_of = to_target(1.0)
    soup, taken, loss = greedy_soup(members, [loss_of(member) for member in members], loss_of)
    assert sorted(taken) == [0, 1]
    assert float(soup["weight"]) == 1.0
    assert loss == 0.0


@given(weights=st.lists(st.floats(-10, 10), min_size=1, max_size=6), target=st.floats(-10, 10))
def test_a_soup_is_never_worse_than_its_best_member(weights: list[float], target: float) -> None:
    """Whatever the members are; and its loss is that of the average it returns."""
    members, loss_of = [state(weight) for weight in weights], to_target(target)
    losses = [loss_of(member) for member in members]
    soup, taken, loss = greedy_soup(members, losses, loss_of)
    assert loss <= min(losses)
    assert loss == pytest.approx(loss_of(soup))
    assert losses[taken[0]] == min(losses)


def test_a_mixture_is_the_best_of_its_shares() -> None:
    """Between the weights before and after; what was not there before stays as it is after."""
    before = {"weight": torch.tensor(0.0)}
    after = {"weight": torch.tensor(4.0), "new": torch.tensor(7.0)}
    mixture, share, loss = best_mixture(before, after, (0.25, 0.5, 0.75), to_target(2.9))
    assert share == 0.75
    assert float(mixture["weight"]) == 3.0
    assert float(mixture["new"]) == 7.0
    assert loss == pytest.approx(0.1)
