"""The map of an image is hot where the answer comes from, whatever the network is made of."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tasks.arrays import Pixels
from tasks.backbones.architecture import Part
from tasks.evaluation.saliency import saliency
from tasks.strategies import surgery
from tasks.strategies.stems import Normalisation
from tasks.strategies.surgery import Adapted
from tests.tasks.networks import strategy
from tests.tasks.strategies import slim

CPU = torch.device("cpu")
SIDE, CORNER = 64, 16


class LowerRight(nn.Module):
    """Passes on the lower right corner alone of maps, tokens or pixels, as high as they are wide."""

    def forward(self, given: Tensor) -> Tensor:
        """Return the corner, flat."""
        side = given.shape[-1]
        return given[..., side - side // 4 :, side - side // 4 :].flatten(1)


def reads_a_corner(channels: int, *, maps: bool) -> Adapted:
    """Return a network whose answer depends on one corner: brightness there speaks for class 1."""
    stem = nn.Conv2d(channels, 4, 4, stride=4) if maps else nn.Identity()
    stage = nn.ReLU(inplace=True) if maps else nn.Sequential(LowerRight(), nn.LazyLinear(8), nn.ReLU())
    model = nn.Sequential(stem, stage, nn.Sequential(LowerRight(), nn.Flatten()) if maps else nn.Identity())
    with torch.no_grad():
        width = model(torch.zeros(1, channels, SIDE, SIDE)).shape[1]
        model.append(nn.Linear(width, 2))
        for name, parameter in model.named_parameters():
            parameter.fill_(0.01 if name.endswith("weight") else 0.0)
        model[3].weight[0] = -0.01
    parts = (Part("stem", ("0",)), Part("stage1", ("1",)), Part("head", ("2", "3")))
    return Adapted(model, parts, "3", Normalisation((0.0,) * channels, (1.0,) * channels), 2)


def scene(channels: int) -> Pixels:
    """Return an image that is bright in two opposite corners."""
    pixels = np.random.default_rng(0).integers(0, 60, (SIDE, SIDE, channels), dtype=np.uint8)
    pixels[:CORNER, :CORNER] += 150
    pixels[-CORNER:, -CORNER:] += 150
    return pixels


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("maps", [True, False], ids=["maps", "vectors"])
def test_the_map_is_hottest_where_the_answer_comes_from(channels: int, maps: bool) -> None:
    """Of two bright corners, the one that the network reads is hot, the other one cold."""
    evidence = saliency(reads_a_corner(channels, maps=maps), scene(channels), 1, CPU)
    assert evidence.shape == (SIDE, SIDE)
    assert evidence.min() >= 0
    assert evidence.max() == 1
    row, column = np.unravel_index(evidence.argmax(), evidence.shape)
    assert min(row, column) >= SIDE - CORNER
    assert evidence[: SIDE // 2, : SIDE // 2].max() < 0.01


def test_nothing_speaks_for_a_class_that_everything_speaks_against() -> None:
    """What is evidence for one of two classes is none for the other."""
    assert saliency(reads_a_corner(1, maps=True), scene(1), 0, CPU).max() == 0


@pytest.mark.parametrize(
    ("name", "size"),
    [("resnet18", 128), ("densenet121", 128), ("squeezenet1_1", 64), ("swin_t", 128), ("vit_b_16", 32)],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_network_has_a_map(name: str, size: int, channels: int, cells: Path) -> None:
    """Maps with features first or last, activations in place, a convolution as head, tokens."""
    adapted = surgery.adapt(slim.find(name), None, size, 2, channels, strategy(train="all"))
    with Image.open(next(cells.rglob("*.png"))) as image:
        grey = np.asarray(image.resize((size, size)))
    evidence = saliency(adapted, np.repeat(grey[..., None], channels, axis=2), 1, CPU)
    other = saliency(adapted, np.repeat(grey[..., None], channels, axis=2), 0, CPU)
    assert evidence.shape == other.shape == (size, size)
    assert max(evidence.max(), other.max()) == 1
    assert not np.allclose(evidence, other)
