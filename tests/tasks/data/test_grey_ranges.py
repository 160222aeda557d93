"""Grey beyond 8 bits: which values become black and white, and what is said of those that don't fit."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.data.grey_ranges import Extent, extent_of, notes_on_range, range_of
from tasks.data.ingest import ingest
from tasks.params import DataParams
from tasks.serving.scores import read_image

SIZE = 32
LOW, HIGH = 300, 1800
finite = st.floats(-1e6, 1e6, width=32)


def textured(seed: int, side: int = SIZE, low: float = LOW, high: float = HIGH) -> np.ndarray:
    """Return noise that has both ends of its range in it."""
    values = np.random.default_rng(seed).uniform(low, high, (side, side))
    values[0, 0], values[0, 1] = low, high
    return values


def write(folder: Path, images: list[np.ndarray]) -> list[str]:
    """Write arrays as TIFF files, and return their names."""
    folder.mkdir()
    for place, values in enumerate(images):
        Image.fromarray(values).save(folder / f"{place:02}.tif")
    return [f"{place:02}.tif" for place in range(len(images))]


def made(folder: Path, images: list[np.ndarray], **asked: Any) -> tuple[Any, np.ndarray, DataParams]:
    """Ingest arrays; return what was seen, the pixels of each, and the params."""
    names = write(folder / "images", images)
    params = DataParams(source="folder", path="images", size=SIZE, **asked)
    ingested = ingest(folder / "images", names, params, folder / "none.npy", folder / "work")
    return ingested, np.load(ingested.store)[..., 0], params


KINDS: dict[str, Any] = {
    "16 bits": lambda v: np.rint(v + 2000).astype(np.uint16),
    "signed 16 bits": lambda v: np.rint(v - 1000).astype(np.int16),
    "32 bits": lambda v: np.rint(v * 1000).astype(np.int32),
    "from 0 to 1": lambda v: (v / HIGH).astype(np.float32),
    "below 0": lambda v: (v - 5000).astype(np.float32),
}
SPOILT = {
    "one pixel": lambda v: np.where(np.arange(v.size).reshape(v.shape) == 77, v.max() + 30 * np.ptp(v), v),
    "one pixel below": lambda v: np.where(np.arange(v.size).reshape(v.shape) == 77, v.min() - 0.9 * np.ptp(v), v),
    "one exposure": lambda v: v + 10 * np.ptp(v),
}


@pytest.mark.parametrize("spoilt", SPOILT)
@pytest.mark.parametrize("kind", KINDS)
def test_one_pixel_or_one_image_sets_no_scale(tmp_path: Path, kind: str, spoilt: str) -> None:
    """The other images have the very pixels that they have without it, and its file is named with its values."""
    images = [textured(seed) for seed in range(10)]
    plain = made(tmp_path / "plain", [KINDS[kind](values) for values in images])
    images[3] = SPOILT[spoilt](images[3])
    ingested, pixels, _ = made(tmp_path / "spoilt", [KINDS[kind](values) for values in images])
    others = [place for place in range(10) if place != 3]
    assert ingested.ranges == plain[0].ranges
    assert (pixels[others] == plain[1][others]).all()
    assert np.unique(pixels[0]).size > 100
    assert plain[0].notes == []
    (note,) = ingested.notes
    assert "1 of 10 images has" in note
    assert "03.tif" in note
    assert "00.tif" not in note


@pytest.fixture(autouse=True)
def folders(tmp_path: Path) -> None:
    """Places for two sets."""
    for name in ("plain", "spoilt"):
        (tmp_path / name).mkdir()


@pytest.mark.parametrize(("value", "side"), [(65535, "high"), (0, "low")])
def test_a_border_without_data_sets_no_scale(tmp_path: Path, value: int, side: str) -> None:
    """A border of a value far from all others becomes black or white, and the rest has the scale that it has alone."""
    shift = 20_000 if side == "low" else 0
    images = [np.rint(textured(seed) + shift).astype(np.uint16) for seed in range(8)]
    for image in images:
        image[:, -6:] = value
    ingested, pixels, _ = made(tmp_path / "spoilt", images)
    assert ingested.ranges == {"integer": (LOW + shift, HIGH + shift)}
    assert np.unique(pixels[:, 2:, -5:]).tolist() == [255 if side == "high" else 0]
    assert "8 of 8 images have a part without data" in ingested.notes[0]
    full, _, _ = made(tmp_path / "plain", images, range="full")
    assert full.ranges == {"integer": (min(value, LOW + shift), max(value, HIGH + shift))}


def test_a_mask_of_two_values_is_all_data(tmp_path: Path) -> None:
    """Black and white are what such an image shows."""
    images = [np.where(textured(seed) > 1000, 65535, 0).astype(np.uint16) for seed in range(8)]
    ingested, pixels, _ = made(tmp_path / "plain", images)
    assert ingested.ranges == {"integer": (0, 65535)}
    assert ingested.notes == []
    assert set(np.unique(pixels)) == {0, 255}


@pytest.mark.parametrize("asked", ["robust", "full", "image", (500, 1000)])
def test_a_prediction_sees_the_pixels_that_were_trained_on(tmp_path: Path, asked: Any) -> None:
    """A file that is answered becomes the pixels that it became in the store, whatever the range."""
    images = [np.rint(textured(seed) * (1 + seed / 4)).astype(np.uint16) for seed in range(9)]
    images[4][5, 5] = 65535
    ingested, pixels, params = made(tmp_path / "plain", images, range=asked)
    champion: Any = SimpleNamespace(links_to=(), facts=SimpleNamespace(data=params, channels=1, ranges=ingested.ranges))
    for place in range(len(images)):
        seen, problem = read_image(champion, tmp_path / "plain/images", f"{place:02}.tif")
        assert problem == ""
        assert seen is not None
        assert (seen[..., 0] == pixels[place]).all()
    if asked == "image":
        assert all(image.max() > 250 and image.min() < 5 for image in pixels)
    if asked == (500, 1000):
        assert ingested.ranges == {"integer": (500, 1000)}
    if asked == "full":
        assert ingested.ranges == {"integer": (LOW, 65535)}


def test_images_that_one_range_makes_flat_are_counted(tmp_path: Path) -> None:
    """Where two devices differ by far, most images would be flat: it is said, and an image's own range mends it."""
    images = [np.rint(textured(seed) * (30 if seed < 4 else 1)).astype(np.uint16) for seed in range(12)]
    ingested, _, _ = made(tmp_path / "plain", images)
    assert any("8 of 12 images use less than 10%" in note and "data.range: image" in note for note in ingested.notes)
    assert made(tmp_path / "spoilt", images, range="image")[0].notes == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(finite, min_size=1, max_size=30), min_size=1, max_size=12), st.randoms())
def test_a_range_lies_within_all_values_and_follows_no_order(images: list[list[float]], random: Any) -> None:
    """It never is wider than the values, nor empty where they differ, and doesn't depend on the order of images."""
    extents = [extent_of(np.array(values, dtype=np.float32)) for values in images]
    low, high = range_of(extents, "robust")
    everything = np.array([value for values in images for value in values], dtype=np.float32)
    assert everything.min() <= low <= high <= everything.max()
    assert (low < high) or len(images) > 7 or len(set(everything.tolist())) == 1
    full = range_of(extents, "full")
    assert full == (everything.min(), everything.max())
    random.shuffle(extents)
    assert range_of(extents, "robust") == (low, high)


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 60), st.floats(100, 60_000), st.floats(0.1, 1))
def test_ordinary_sets_keep_all_their_values(count: int, high: float, spread: float) -> None:
    """Exposures that vary as those of a camera do are taken in as they are, and nothing is said."""
    rng = np.random.default_rng(count)
    extents = {}
    for place in range(count):
        top = high * (1 - 0.3 * spread * rng.random())
        extents[f"{place}"] = Extent(0.01 * top, 0.99 * top, 0, top)
    used = range_of(list(extents.values()), "robust")
    assert used == (0, max(extent.largest for extent in extents.values()))
    assert notes_on_range(extents, used, "robust") == []


def test_at_most_five_files_are_named() -> None:
    """However many lie outside, a note has one line."""
    extents = {f"{place}.tif": Extent(0, 100, 0, 900 if place < 7 else 100) for place in range(20)}
    (note,) = notes_on_range(extents, range_of(list(extents.values()), "robust"), "robust")
    assert "7 of 20" in note
    assert "4.tif" in note
    assert "5.tif" not in note
    assert "and 2 more" in note
