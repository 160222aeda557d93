"""Augmentation: what a random change may do to an image, and what it may not."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tasks.data.augmentation import Augmentation
from tasks.params import AugmentParams

OFF = {"flips": False, "quarter_turns": False}
PARAMS = st.builds(
    AugmentParams,
    flips=st.booleans(),
    quarter_turns=st.booleans(),
    crop=st.floats(0.1, 1),
    brightness=st.floats(0, 0.9),
)


def noise(count: int = 12, channels: int = 3, size: int = 8) -> Tensor:
    """Return images of which no two pixels' neighbourhoods are alike."""
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, channels, size, size), dtype=np.uint8))


def seeded(seed: int) -> torch.Generator:
    """Return a generator with a seed."""
    return torch.Generator().manual_seed(seed)


def turned(image: Tensor) -> list[Tensor]:
    """Return the eight images that flips and quarter turns can make of one."""
    return [flipped.rot90(quarters, (1, 2)) for flipped in (image, image.flip(2)) for quarters in range(4)]


def place(image: Tensor, choices: list[Tensor]) -> int:
    """Return which of the choices an image is, or -1."""
    return next((index for index, choice in enumerate(choices) if torch.equal(image, choice)), -1)


@given(st.integers(0, 2**31), st.booleans(), st.booleans(), st.booleans())
@settings(deadline=None, max_examples=40)
def test_flips_and_turns_only_move_pixels(seed: int, flips: bool, turns: bool, upright: bool) -> None:
    """Every image is still itself, in one of its eight positions."""
    images = noise()
    changed = Augmentation(AugmentParams(flips=flips, quarter_turns=turns), upright)(images, seeded(seed))
    for before, after in zip(images, changed, strict=True):
        assert place(after, turned(before)) >= 0


@given(st.integers(0, 2**31), st.booleans())
@settings(deadline=None, max_examples=40)
def test_upright_images_are_never_turned(seed: int, turns: bool) -> None:
    """An image with an up is itself or its mirror image, never upside down or on its side."""
    images = noise()
    changed = Augmentation(AugmentParams(flips=True, quarter_turns=turns), upright=True)(images, seeded(seed))
    for before, after in zip(images, changed, strict=True):
        assert place(after, [before, before.flip(2)]) >= 0


@pytest.mark.parametrize(
    ("params", "upright", "positions"),
    [
        (AugmentParams(flips=True, quarter_turns=True), False, 8),
        (AugmentParams(flips=False, quarter_turns=True), False, 4),
        (AugmentParams(flips=True, quarter_turns=False), False, 4),
        (AugmentParams(flips=True, quarter_turns=True), True, 2),
        (AugmentParams(flips=False, quarter_turns=True), True, 1),
        (AugmentParams(flips=False, quarter_turns=False), False, 1),
    ],
)
def test_every_allowed_position_comes_up(params: AugmentParams, upright: bool, positions: int) -> None:
    """All allowed positions are drawn about equally often, and drawn anew for each image of a batch."""
    image = noise(1)
    changed = Augmentation(params, upright)(image.repeat(1600, 1, 1, 1), seeded(0))
    counts = torch.zeros(8, dtype=torch.int64)
    for after in changed:
        counts[place(after, turned(image[0]))] += 1
    drawn = counts[counts > 0]
    assert len(drawn) == positions
    assert drawn.min() > 0.7 * 1600 / positions


@given(PARAMS, st.booleans(), st.integers(0, 2**31), st.sampled_from([1, 3]))
@settings(deadline=None, max_examples=40)
def test_same_seed_same_batch(params: AugmentParams, upright: bool, seed: int, channels: int) -> None:
    """A generator with the same seed makes the same batch, whatever else was drawn in between."""
    images = noise(channels=channels)
    augment = Augmentation(params, upright)
    first = augment(images, seeded(seed))
    torch.rand(3)
    assert torch.equal(first, augment(images, seeded(seed)))


@given(PARAMS, st.booleans(), st.integers(0, 2**31), st.sampled_from([1, 3]), st.integers(1, 5))
@settings(deadline=None, max_examples=40)
def test_type_and_shape_are_kept(params: AugmentParams, upright: bool, seed: int, channels: int, count: int) -> None:
    """Bytes in, bytes out, as many and as large; and what went in is untouched."""
    images = noise(count, channels)
    before = images.clone()
    changed = Augmentation(params, upright)(images, seeded(seed))
    assert changed.dtype == torch.uint8
    assert changed.shape == images.shape
    assert torch.equal(images, before)


def test_a_generator_goes_on() -> None:
    """The second batch of an epoch is changed otherwise than the first."""
    generator, augment, images = seeded(0), Augmentation(AugmentParams(), upright=False), noise()
    assert not torch.equal(augment(images, generator), augment(images, generator))


def test_crop_keeps_at_least_its_share() -> None:
    """A crop shows a part of the image, enlarged, and not less of it than was asked for."""
    size = 64
    ramp = torch.linspace(0, 255, size).round().to(torch.uint8)
    images = torch.stack([ramp.expand(size, size), ramp[:, None].expand(size, size)]).repeat(200, 1, 1, 1)
    changed = Augmentation(AugmentParams(**OFF, crop=0.25), upright=True)(images, seeded(0)).float()
    assert (changed[:, 0].diff(dim=2) >= 0).all()
    assert (changed[:, 1].diff(dim=1) >= 0).all()
    across = (changed[:, 0, 0, -1] - changed[:, 0, 0, 0]) / 255
    down = (changed[:, 1, -1, 0] - changed[:, 1, 0, 0]) / 255
    area = across * down
    assert area.min() > 0.25 * 0.9
    assert area.min() < 0.4
    assert 0.85 < area.max() <= 1
    assert changed[:, 0, 0, 0].std() > 5  # not always the middle


def test_crops_invent_no_colour() -> None:
    """A crop of an even image is the same even image: nothing comes in from outside."""
    images = torch.full((16, 3, 12, 12), 200, dtype=torch.uint8)
    assert torch.equal(Augmentation(AugmentParams(**OFF, crop=0.1), upright=True)(images, seeded(0)), images)


def test_brightness_changes_all_pixels_alike() -> None:
    """Brighter stays brighter: the order of grey values is kept, and the change is within its bounds."""
    ramp = torch.arange(80, 176, 1.5).to(torch.uint8).reshape(1, 1, 8, 8)
    changed = Augmentation(AugmentParams(**OFF, brightness=0.2), upright=True)(
        ramp.repeat(200, 1, 1, 1), seeded(0)
    ).float()
    flat = changed.flatten(1)
    assert (flat.diff(dim=1) >= 0).all()
    moved = flat.mean(1) - ramp.float().mean()
    assert moved.abs().max() <= 0.2 * 255 + 1
    assert moved.min() < -0.15 * 255
    assert moved.max() > 0.15 * 255
    contrast = (flat[:, -1] - flat[:, 0]) / (ramp.max() - ramp.min()).float()
    assert contrast.min() >= 0.8 - 0.02
    assert contrast.max() <= 1.2 + 0.02
    assert contrast.std() > 0.05


def test_brightness_does_not_wrap_around() -> None:
    """White made brighter is white, and black made darker is black."""
    images = torch.cat([torch.zeros(100, 1, 4, 4), torch.full((100, 1, 4, 4), 255)]).to(torch.uint8)
    changed = Augmentation(AugmentParams(**OFF, brightness=0.3), upright=True)(images, seeded(0))
    assert changed[:100].max() <= 0.3 * 255 + 1
    assert changed[100:].min() >= 0.7 * 255 - 1


def test_everything_off_changes_nothing() -> None:
    """With all of it switched off, the images are those of the store."""
    images = noise()
    assert torch.equal(Augmentation(AugmentParams(**OFF), upright=False)(images, seeded(0)), images)
