"""HEIC photographs: read where the extra is installed, named with the extra where it isn't."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.data import decoding, heif
from tasks.data.reading import read
from tasks.params import DataParams

PARAMS = DataParams(source="folder", path="images", size=16)
HEADER = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that lacks the extra."""
    monkeypatch.setattr(heif, "is_readable", lambda: False)
    decoding.formats.cache_clear()
    yield
    decoding.formats.cache_clear()


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize("name", ["photo.heic", "photo.HEIF", "photo.jpg"])
def test_the_extra_is_named(tmp_path: Path, name: str) -> None:
    """By content, whatever the file is called."""
    (tmp_path / name).write_bytes(HEADER)
    seen, pixels = read(tmp_path, name, PARAMS, 3)
    assert pixels is None
    assert seen.kind == "unreadable"
    assert "pip install -c constraints.txt -e '.[heic]'" in seen.problem


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (HEADER, True),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1miafheic", True),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", False),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1miafavif", False),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", False),
        (b"\xff\xd8\xff\xe0", False),
        (b"", False),
    ],
)
def test_what_is_one(start: bytes, expected: bool) -> None:
    """A film is none, nor is AVIF, which Pillow reads itself."""
    assert heif.is_heif(start) == expected


@pytest.mark.parametrize("name", ["photo.heic", "photo.jpg"])
def test_a_photograph_is_read_as_it_is_seen(tmp_path: Path, name: str) -> None:
    """Upright, in its colours, within the limits, and in every thread alike."""
    plugin = pytest.importorskip("pillow_heif")
    shown = Image.new("RGB", (64, 48), (200, 40, 30))
    shown.paste((20, 60, 220), (0, 0, 32, 48))
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    plugin.from_pillow(shown).save(tmp_path / name, quality=95, exif=exif.tobytes())
    seen, pixels = read(tmp_path, name, PARAMS, 3)
    assert seen.problem == ""
    assert (seen.width, seen.height, seen.format) == (48, 64, "HEIF")
    upright = np.asarray(shown.rotate(-90, expand=True).resize((16, 16), Image.Resampling.BILINEAR), dtype=int)
    assert np.abs(np.asarray(pixels, dtype=int) - upright)[:7].max() < 16
    with ThreadPoolExecutor(4) as threads:
        again = list(threads.map(lambda _: read(tmp_path, name, PARAMS, 3)[1], range(8)))
    assert all(np.array_equal(image, pixels) for image in again)
    small = PARAMS.model_copy(update={"max_pixels": 100})
    assert read(tmp_path, name, small, 3)[0].kind == "too large"
