"""A forward pass that is written down: order, resolution, and nothing left behind."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tasks.backbones.tracing import levels, modules_that_run, trace


class Squeezing(nn.Module):
    """A convolution, a squeeze-and-excitation, and two linear layers that are defined in the wrong order."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 5)
        self.drop = nn.Dropout(0.5)
        self.first = nn.Linear(4, 6)
        self.unused = nn.Linear(4, 4)
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.squeeze = nn.Conv2d(4, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.features(images)
        maps = maps * self.squeeze(maps.mean((2, 3), keepdim=True))
        logits: Tensor = self.last(self.drop(self.first(maps.mean((2, 3)))))
        return logits


def test_layers_are_listed_as_they_run() -> None:
    """The order is that of the forward pass, not that of the definition; what doesn't run isn't listed."""
    calls, logits = trace(Squeezing(), 8)
    assert [call.name for call in calls] == ["features.0", "features.1", "squeeze", "first", "drop", "last"]
    assert [call.positions for call in calls] == [64, 64, 1, 1, 1, 1]
    assert isinstance(logits, Tensor)
    assert logits.shape == (2, 5)


def test_network_is_left_as_it_was() -> None:
    """Tracing changes no weight, no statistic, no mode and no random number, and leaves no hook behind."""
    model = Squeezing().train()
    model.features.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    trace(model, 8)
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training
    assert model.drop.training
    assert not model.features[1].training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_network_that_fails_is_left_as_it_was_too() -> None:
    """A size that doesn't fit raises the network's own error, and no hook stays."""
    model = nn.Sequential(nn.Conv2d(3, 4, 5), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(RuntimeError):
        trace(model, 9)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert model.training


def test_modules_that_run() -> None:
    """A layer that nothing calls is not among them; the network is left as it was, also where it fails."""
    model = Squeezing().train()
    ran = modules_that_run(model, torch.zeros(2, 3, 8, 8))
    assert set(model.modules()) - ran == {model.unused}
    with pytest.raises(RuntimeError):
        modules_that_run(model, torch.zeros(2, 4, 8, 8))
    assert all(module.training and not module._forward_hooks for module in model.modules())


def test_layer_with_layers_inside_is_one_layer() -> None:
    """A convolution with normalised weights and an attention, whose inner layers don't run as such, are one each."""
    convolution = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 1))
    attention = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.attention, self.head = convolution, attention, nn.Linear(4, 2)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.head(self.attention(self.convolution(images).flatten(2).mT).mean(1))
            return logits

    calls, _ = trace(Model(), 4)
    assert calls[0].name == "convolution"
    assert calls[-1].name == "head"
    assert {call.name.split(".")[0] for call in calls[1:-1]} == {"attention"}


@given(st.lists(st.integers(1, 64), min_size=1, max_size=20))
def test_levels_count_lasting_falls(positions: list[int]) -> None:
    """The level never falls, and rises exactly where no later step has as many places."""
    counted = levels(positions)
    assert len(counted) == len(positions)
    assert counted[0] == 0
    for index in range(1, len(positions)):
        lasting = max(positions[index - 1 :]) > max(positions[index:])
        assert counted[index] - counted[index - 1] == lasting
