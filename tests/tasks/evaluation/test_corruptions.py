"""Corruptions of real images: stronger from severity to severity, and the same however images are put together."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_images

from tasks.arrays import Pixels
from tasks.evaluation.corruptions import KINDS, SEVERITIES, Kind, corrupt

SIDES = (32, 96, 224)
kinds = pytest.mark.parametrize("kind", KINDS)


def difference(images: Pixels, others: Pixels) -> float:
    """Return the mean absolute difference of pixels."""
    return float(np.abs(images.astype(float) - others).mean())


@pytest.fixture(scope="module")
def grey(cells: Path) -> dict[int, Pixels]:
    """Real solar cells by side, shape (16, side, side, 1)."""
    paths = sorted(cells.rglob("*.png"))[::5]
    opened = [Image.open(path).convert("L") for path in paths]
    return {side: np.stack([np.asarray(image.resize((side, side)))[..., None] for image in opened]) for side in SIDES}


@pytest.fixture(scope="module")
def coloured() -> dict[int, Pixels]:
    """Tiles of two real photographs by side, shape (12, side, side, 3)."""
    tiles = [
        Image.fromarray(photo[top : top + 210, left : left + 210])
        for photo in load_sample_images().images
        for top in (0, 210)
        for left in (0, 210, 420)
    ]
    return {side: np.stack([np.asarray(tile.resize((side, side))) for tile in tiles]) for side in SIDES}


@kinds
@pytest.mark.parametrize("side", SIDES)
def test_a_higher_severity_changes_more(
    grey: dict[int, Pixels], coloured: dict[int, Pixels], kind: Kind, side: int
) -> None:
    """Severity 0 leaves real images as they are, and each severity is visibly further from them than the one before."""
    for images in (grey[side], coloured[side]):
        assert np.array_equal(corrupt(images, kind, 0, seed=3), images)
        differences = [difference(corrupt(images, kind, severity, seed=3), images) for severity in (0, *SEVERITIES)]
        assert (np.diff(differences) > 0.1).all(), differences


@kinds
@given(data=st.data(), severity=st.sampled_from(SEVERITIES), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_an_image_is_corrupted_by_its_row_alone(
    grey: dict[int, Pixels], kind: Kind, data: st.DataObject, severity: int, seed: int
) -> None:
    """In whatever batches and order images come, each comes out as it does among all."""
    images = grey[32]
    rows = np.arange(len(images)) + 1000
    whole = corrupt(images, kind, severity, seed, rows)
    order = np.array(data.draw(st.permutations(range(len(images)))))
    cuts = data.draw(st.lists(st.integers(0, len(images)), max_size=3).map(sorted))
    parts = [corrupt(images[part], kind, severity, seed, rows[part]) for part in np.split(order, cuts)]
    assert np.array_equal(np.concatenate(parts), whole[order])


@pytest.mark.parametrize("kind", ["noise", "brightness", "shift"])
def test_images_and_seeds_have_their_own_draws(grey: dict[int, Pixels], kind: Kind) -> None:
    """The same picture is not corrupted the same way in every row, nor with every seed."""
    images = np.repeat(grey[32][:1], 20, axis=0)
    noisy = corrupt(images, kind, 3, seed=0)
    assert len(np.unique(noisy, axis=0)) > 1
    assert not np.array_equal(corrupt(images, kind, 3, seed=1), noisy)
    assert np.array_equal(corrupt(images, kind, 3, seed=0), noisy)


@kinds
def test_the_images_are_not_touched(grey: dict[int, Pixels], kind: Kind) -> None:
    """A store that can't be written to is enough, and a result can be written to."""
    images = grey[32].copy()
    images.flags.writeable = False
    for severity in (0, 3):
        corrupt(images, kind, severity, seed=0)[:] = 0
    assert np.array_equal(images, grey[32])


@kinds
def test_alpha_stays(grey: dict[int, Pixels], coloured: dict[int, Pixels], kind: Kind) -> None:
    """What is visible is corrupted as it would be without alpha; alpha is as it was."""
    for visible in (grey[32][:12], coloured[32]):
        alpha = grey[32][:12, ::-1]
        changed = corrupt(np.concatenate([visible, alpha], axis=3), kind, 4, seed=1)
        assert np.array_equal(changed[..., -1:], alpha)
        assert np.array_equal(changed[..., :-1], corrupt(visible, kind, 4, seed=1))


@kinds
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(0, 8, 8), (1, 1, 1), (3, 2, 5), (2, 40, 17)])
def test_any_shape_is_taken(kind: Kind, channels: int, shape: tuple[int, ...]) -> None:
    """No image at all, a single pixel, and images that are not square, in all channels."""
    images = np.random.default_rng(0).integers(0, 256, (*shape, channels), dtype=np.uint8)
    changed = corrupt(images, kind, 5, seed=0)
    assert changed.shape == images.shape
    assert changed.dtype == np.uint8


def test_noise_has_no_direction(coloured: dict[int, Pixels]) -> None:
    """Noise is as often up as down, away from the ends of the range, and differs between the channels."""
    middle = np.full_like(coloured[224], 128)
    added = corrupt(middle, "noise", 3, seed=0).astype(float) - 128
    assert added.mean() == pytest.approx(0, abs=0.2)
    assert abs(np.corrcoef(added[..., 0].ravel(), added[..., 1].ravel())[0, 1]) < 0.02


def test_brightness_goes_both_ways(grey: dict[int, Pixels]) -> None:
    """Some images become lighter, others darker, each as a whole; nothing wraps round."""
    images = grey[96]
    added = corrupt(images, "brightness", 5, seed=0).astype(float) - images
    lighter = (added >= 0).all(axis=(1, 2, 3))
    assert (lighter | (added <= 0).all(axis=(1, 2, 3))).all()
    assert 0 < lighter.sum() < len(images)


def test_a_shift_moves_the_picture(grey: dict[int, Pixels]) -> None:
    """Inside, a shifted image is the image, moved by a few pixels; outside, the edge goes on."""
    images = grey[96]
    directions = set()
    for image, moved in zip(images, corrupt(images, "shift", 2, seed=0), strict=True):
        pixels = 6
        centre = image[pixels:-pixels, pixels:-pixels]
        (direction,) = (
            (y, x)
            for y in (-pixels, 0, pixels)
            for x in (-pixels, 0, pixels)
            if np.array_equal(moved[pixels + y : 96 - pixels + y, pixels + x : 96 - pixels + x], centre)
        )
        directions.add(direction)
        if direction[0] > 0:
            assert (moved[:pixels] == moved[pixels]).all()
    assert len(directions) > 3
    assert (0, 0) not in directions


def test_blur_does_not_darken_the_edge() -> None:
    """What has no structure stays as it is, up to the edge."""
    even = np.full((1, 32, 32, 1), 200, dtype=np.uint8)
    assert np.array_equal(corrupt(even, "blur", 5, seed=0), even)


def test_blur_looks_alike_at_every_size(grey: dict[int, Pixels]) -> None:
    """A large image that is blurred and made smaller is about the small image, blurred."""
    large = corrupt(grey[224], "blur", 5, seed=0)
    smaller = np.stack([np.asarray(Image.fromarray(image[..., 0]).resize((96, 96)))[..., None] for image in large])
    small = corrupt(grey[96], "blur", 5, seed=0)
    assert difference(smaller, small) < difference(small, grey[96]) / 3


@pytest.mark.parametrize(("kind", "severity"), [("rain", 1), ("noise", 6), ("noise", -1)])
def test_what_there_is_not_is_refused(grey: dict[int, Pixels], kind: Kind, severity: int) -> None:
    """Unknown kinds and severities are named."""
    with pytest.raises(ValueError, match=f"{kind} of severity {severity}"):
        corrupt(grey[32], kind, severity, seed=0)
