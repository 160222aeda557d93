"""A first layer for any number of channels answers what the old one did, as far as it can."""

from typing import Literal, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.std_conv import StdConv2d
from timm.models._manipulate import adapt_input_conv
from torch import Tensor, nn

from tasks.errors import UserError
from tasks.params import StemParams
from tasks.strategies.stems import Normalisation, replace_stem
from tests.tasks.strategies.pretrained import (
    SIZE,
    adapt,
    assert_every_tensor_has_one_part,
    logits,
    random_images,
    weights,
)

IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NETWORKS = {"resnet18": "conv1", "vit_b_16": "conv_proj", "squeezenet1_1": "features.0"}
Init = Literal["auto", "sum", "repeat", "zero"]


def replaced(old: nn.Conv2d, channels: int, init: str = "auto") -> tuple[nn.Conv2d, Normalisation, bool]:
    """Return the first layer that takes the place of one, with its input statistics."""
    model = nn.Sequential(old)
    statistics, differs = replace_stem(model, "0", IMAGENET, channels, StemParams(init=cast(Init, init)))
    return cast(nn.Conv2d, model[0]), statistics, differs


def answer(layer: nn.Conv2d, statistics: Normalisation, images: Tensor) -> Tensor:
    """Return a layer's answer away from the padding."""
    with torch.no_grad():
        return cast(Tensor, layer(statistics(images)))[:, :, 3:-3, 3:-3]


GEOMETRIES = st.fixed_dictionaries(
    {
        "kernel_size": st.sampled_from([3, 7, 4]),
        "stride": st.integers(1, 2),
        "padding": st.integers(0, 3),
        "dilation": st.integers(1, 2),
        "bias": st.booleans(),
        "padding_mode": st.sampled_from(["zeros", "reflect"]),
    }
)


@settings(max_examples=60, deadline=None)
@given(
    channels=st.integers(1, 8),
    init=st.sampled_from(["auto", "sum", "repeat", "zero"]),
    geometry=GEOMETRIES,
    seed=st.integers(0, 9),
)
def test_the_layer_answers_what_the_old_one_does(
    channels: int, init: str, geometry: dict[str, object], seed: int
) -> None:
    """Images whose channels are equal are answered as before by ``sum``, and by ``repeat`` where the kernels come out
    even; ``zero`` answers by the first three channels alone. The geometry stays, and what is not exact is told.
    """
    torch.manual_seed(seed)
    old = nn.Conv2d(3, 5, **geometry)  # type: ignore[arg-type]
    if init == "zero" and channels < 3:
        with pytest.raises(UserError, match=f"more than 3 channels, these have {channels}"):
            replaced(old, channels, init)
        return
    new, statistics, differs = replaced(old, channels, init)
    chosen = {1: "sum", 2: "repeat"}.get(channels, "zero") if init == "auto" else init

    images = torch.randint(0, 256, (2, channels, 32, 32), dtype=torch.uint8)
    assert len(statistics.mean) == len(statistics.std) == channels
    assert differs == (channels != 3 and (channels, chosen) != (1, "sum"))
    kept = ("out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
    assert [getattr(new, key) for key in kept] == [getattr(old, key) for key in kept]
    assert (new.in_channels, new.weight.shape[1]) == (channels, channels)
    if channels == 3:
        assert new is old
    elif chosen == "zero":
        wanted = answer(old, IMAGENET, images[:, :3])
        torch.testing.assert_close(answer(new, statistics, images), wanted, atol=1e-4, rtol=1e-4)
    elif chosen == "sum" or channels % 3 == 0:
        wanted = answer(old, IMAGENET, images[:, :1].expand(-1, 3, -1, -1))
        equal = images[:, :1].expand(-1, channels, -1, -1)
        torch.testing.assert_close(answer(new, statistics, equal), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 6])
def test_repeated_kernels_are_timms(channels: int) -> None:
    """``repeat`` is what timm does for other numbers of channels; each channel is normalised as its kernel expects."""
    old = nn.Conv2d(3, 8, 7)
    new, statistics, _ = replaced(old, channels, "repeat")
    if channels > 1:
        assert torch.equal(new.weight, adapt_input_conv(channels, old.weight.detach()))
    assert statistics.mean == (IMAGENET.mean * 2)[:channels]
    assert statistics.std == (IMAGENET.std * 2)[:channels]


@pytest.mark.parametrize("channels", [2, 4, 5, 7, 13])
@pytest.mark.parametrize("init", ["sum", "repeat"])
def test_answers_keep_their_size(channels: int, init: str) -> None:
    """Natural images, whose channels are much alike, are answered about as strongly as before."""
    torch.manual_seed(0)
    old = nn.Conv2d(3, 64, 7, bias=False)
    nn.init.normal_(old.weight, 0.1, 0.1)
    light = torch.randint(0, 200, (4, 1, 32, 32))
    images = (light + torch.randint(0, 50, (4, channels, 32, 32))).byte()
    new, statistics, _ = replaced(old, channels, init)
    ratio = answer(new, statistics, images).std() / answer(old, IMAGENET, images[:, [0, 1, 0]]).std()
    assert 0.7 < ratio < 1.4


@pytest.mark.parametrize("name", NETWORKS)
def test_more_channels_leave_the_answers_to_rgb_as_they_were(name: str) -> None:
    """With ``zero``, whatever the other channels show, a network answers by the first three, whose kernels stay."""
    images = random_images(5)
    wanted = logits(adapt(name), images[:, :3].contiguous())
    wider = adapt(name, channels=5)
    assert wider.normalisation.mean[:3] == adapt(name).normalisation.mean
    torch.testing.assert_close(logits(wider, images), wanted, atol=1e-5, rtol=1e-5)
    kernels = wider.model.get_parameter(f"{NETWORKS[name]}.weight")
    assert torch.equal(kernels[:, :3], weights(name)[f"{NETWORKS[name]}.weight"])
    assert not kernels[:, 3:].any()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("channels", "new"), [(1, ()), (2, ("stem",)), (3, ()), (6, ("stem",))])
def test_a_stem_that_computes_something_new_trains_in_every_phase(
    name: str, channels: int, new: tuple[str, ...]
) -> None:
    """Unless it is to stay frozen. Grey images are answered as before, so that nothing is new."""
    adapted = adapt(name, channels)
    assert adapted.new == new
    assert adapt(name, channels, stem={"frozen": True}).new == ()
    assert logits(adapted, random_images(channels)).isfinite().all()
    assert_every_tensor_has_one_part(adapted)
    assert f"{NETWORKS[name]}.weight" in adapted.model.state_dict()


@pytest.mark.parametrize("channels", [0, -2])
def test_images_without_channels_are_refused(channels: int) -> None:
    """The message names the layer that takes the images."""
    with pytest.raises(UserError, match=rf"'conv1' needs images of 1 channel or more, not {channels}"):
        adapt("resnet18", channels)


def test_a_layer_in_groups_is_refused() -> None:
    """Its kernels belong to single channels, so that others can't be made of them."""
    with pytest.raises(UserError, match="'0' works in 3 groups"):
        replaced(nn.Conv2d(3, 6, 3, groups=3), 4)


@pytest.mark.parametrize("channels", [1, 4])
def test_timms_own_convolutions_keep_their_class(channels: int) -> None:
    """Padding that depends on the image stays. A layer that rescales its weights answers grey images differently."""
    torch.manual_seed(0)
    same = Conv2dSame(3, 8, 3, stride=2, bias=False)
    images = torch.randint(0, 256, (1, channels, SIZE - 1, SIZE - 1), dtype=torch.uint8)
    new, statistics, differs = replaced(same, channels, "sum")
    assert type(new) is Conv2dSame
    assert differs == (channels > 1)
    wanted = answer(same, IMAGENET, images[:, :1].expand(-1, 3, -1, -1))
    equal = images[:, :1].expand(-1, channels, -1, -1)
    torch.testing.assert_close(answer(new, statistics, equal), wanted, atol=1e-4, rtol=1e-4)

    standardised, _, differs = replaced(StdConv2d(3, 8, 3), channels, "sum")
    assert type(standardised) is StdConv2d
    assert differs
