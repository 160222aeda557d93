"""Reading: every kind of image file ends as the right pixels, or as a reason why not."""

import hashlib
import os
import random
import struct
import time
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor

from tasks.data import decoding, reading
from tasks.data.decoding import FORMATS, DeepGrey, to_8_bits
from tasks.data.image_facts import ImageFacts
from tasks.data.ingest import ingest
from tasks.data.reading import is_grey, read
from tasks.params import DataParams

SIZE = 16
RESAMPLED = 2  # largest difference that resizing and colour conversion may make
MUTANTS = 2000
MUTANT_PIXELS = 1_000_000
CORNERS = ((0, 0), (0, -1), (-1, 0), (-1, -1))


def data(**settings: Any) -> DataParams:
    """Return the section ``data`` of params."""
    return DataParams(source="folder", path="images", **{"size": SIZE, **settings})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty data folder."""
    target = tmp_path / "images"
    target.mkdir()
    return target


def decoded(folder: Path, image: Image.Image, channels: int = 3, name: str = "1.png", **options: Any) -> Any:
    """Save an image and return its pixels."""
    background = options.pop("background", "white")
    image.save(folder / name, **options)
    seen, pixels = read(folder, name, data(background=background), channels)
    assert (seen.problem, seen.kind) == ("", "")
    assert isinstance(pixels, np.ndarray)
    assert pixels.shape == (SIZE, SIZE, channels)
    assert pixels.dtype == np.uint8
    return pixels


def reason(folder: Path, name: str, **settings: Any) -> tuple[str, str]:
    """Return the kind of a file's problem, and the problem."""
    seen, pixels = read(folder, name, data(**settings), 3)
    assert pixels is None
    return seen.kind, seen.problem


def refused(folder: Path, name: str, content: bytes) -> str:
    """Return why a file of this content can't be used."""
    (folder / name).write_bytes(content)
    kind, problem = reason(folder, name)
    assert kind == "unreadable"
    assert problem.startswith("unreadable: ")
    return problem


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return a file's content."""
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(mode: str = "RGB", width: int = 24, height: int = 20) -> Image.Image:
    """Return an image of random values, the same every time."""
    values = np.random.default_rng(0).integers(0, 256, (height, width, 4), dtype=np.uint8)
    return Image.fromarray(values).convert("RGB").convert(mode) if mode != "RGBA" else Image.fromarray(values)


# ---- modes


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("mode", "colour", "rgb"),
    [
        ("1", 1, (255, 255, 255)),
        ("1", 0, (0, 0, 0)),
        ("L", 77, (77, 77, 77)),
        ("LA", (77, 255), (77, 77, 77)),
        ("LA", (0, 0), (255, 255, 255)),  # transparent is white
        ("LA", (0, 51), (204, 204, 204)),  # a fifth of black over white
        ("RGB", (10, 200, 30), (10, 200, 30)),
        ("RGBA", (10, 200, 30, 255), (10, 200, 30)),
        ("RGBA", (0, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 0, 51), (255, 204, 204)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("CMYK", (0, 0, 0, 255), (0, 0, 0)),
        ("PA", (0, 0), (255, 255, 255)),
        ("YCbCr", (200, 128, 128), (200, 200, 200)),
    ],
)
def test_modes(folder: Path, mode: str, colour: Any, rgb: tuple[int, int, int], channels: int) -> None:
    """Each mode keeps its colour, and its grey is the usual luma of that colour."""
    image = Image.new(mode, (20, 30), colour)
    pixels = decoded(folder, image, channels, "1.tif" if mode in {"CMYK", "PA", "YCbCr"} else "1.png")
    luma = (299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2]) / 1000
    expected = rgb if channels == 3 else (luma,)
    assert np.abs(pixels.astype(int) - np.array(expected)).max() <= RESAMPLED


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "CMYK"])
@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_is_the_last_of_an_even_number_of_channels(folder: Path, mode: str, channels: int) -> None:
    """Colour under it is as it was, not composited; an image without alpha is opaque."""
    has_alpha = mode.endswith("A")
    image = Image.new("RGBA" if has_alpha else "RGB", (SIZE, SIZE), (40, 120, 200, 100)[: 3 + has_alpha]).convert(mode)
    pixels = decoded(folder, image, channels, name="1.tiff" if mode == "CMYK" else "1.png")
    assert np.unique(pixels[..., -1]).tolist() == [100 if has_alpha else 255]
    expected = np.asarray(image.convert("RGB").convert("L" if channels == 2 else "RGB"), dtype=int)
    difference = pixels[..., :-1].astype(int) - expected.reshape(SIZE, SIZE, channels - 1)
    assert np.abs(difference).max() <= RESAMPLED


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_palette(folder: Path, kind: str, transparent: bool, channels: int) -> None:
    """A palette's colours are looked up; its transparent colour is the background, or alpha where that is kept."""
    image = Image.new("P", (20, 20), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    options: dict[str, Any] = {"transparency": 1} if transparent else {}
    pixels = decoded(folder, image, channels, format=kind, background="#0000ff", **options)
    if channels in {2, 4}:
        assert np.unique(pixels[..., -1]).tolist() == [0 if transparent else 255]
    else:
        rgb = (0, 0, 255) if transparent else (10, 200, 30)
        expected = rgb if channels == 3 else (round((299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2]) / 1000),)
        assert np.abs(pixels.astype(int) - np.array(expected)).max() <= 1


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_transparent_colour_of_an_image_without_alpha(folder: Path, mode: str) -> None:
    """A PNG that names one of its greys or colours transparent shows the background there."""
    colour: Any = 9 if mode == "L" else (9, 9, 9)
    pixels = decoded(folder, Image.new(mode, (20, 20), colour), 3, transparency=colour, background="red")
    assert np.unique(pixels.reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(0, 255)] * 4),
    st.sampled_from(["white", "black", "#336699", "rgb(200, 10, 90)", "hsl(120, 100%, 50%)"]),
)
def test_alpha_is_laid_over_the_background(colour: tuple[int, int, int, int], background: str) -> None:
    """Whatever colour and background, the result lies between the two as alpha says."""
    image = Image.new("RGBA", (4, 4), colour)
    pixels = decoding._pixels(image, SIZE, 3, background)
    share = colour[3] / 255
    behind = np.array(ImageColor.getrgb(background)[:3])
    expected = share * np.array(colour[:3]) + (1 - share) * behind
    assert np.abs(pixels - expected).max() <= RESAMPLED


def test_colour_under_full_transparency_does_not_bleed(folder: Path) -> None:
    """Beside an opaque part, an invisible one of another colour leaves no fringe of that colour."""
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 31, 64))
    pixels = decoded(folder, image, 3, background="black")
    assert pixels.max() == 0


def test_resizing_keeps_the_picture(folder: Path) -> None:
    """A ramp from dark to bright is still one, in the same direction."""
    ramp = np.tile(np.linspace(0, 255, 200).astype(np.uint8), (100, 1))
    pixels = decoded(folder, Image.fromarray(ramp), 1)[..., 0].astype(int)
    assert (np.diff(pixels, axis=1) > 0).all()
    assert np.abs(np.diff(pixels, axis=0)).max() == 0


def test_one_pixel_is_enough(folder: Path) -> None:
    """The smallest image there is fills its square."""
    assert np.unique(decoded(folder, Image.new("RGB", (1, 1), (1, 2, 3))).reshape(-1, 3), axis=0).tolist() == [
        [1, 2, 3]
    ]


# ---- grey beyond 8 bits


@pytest.mark.parametrize(
    ("mode", "integer", "values"),
    [("I;16", True, (0x4D3A, 65535)), ("I;16B", True, (1, 700)), ("I", True, (-5, 2**20)), ("F", False, (-1.5, 0.25))],
)
def test_deep_grey_keeps_its_values(folder: Path, mode: str, integer: bool, values: tuple[float, float]) -> None:
    """Nothing is cut to 8 bits before the range of the whole set is known."""
    kinds = {"I;16": "<u2", "I;16B": ">u2", "I": "<i4", "F": "<f4"}
    Image.fromarray(np.repeat([values], 16, axis=1).repeat(32, axis=0).astype(kinds[mode])).save(folder / "1.tif")
    seen, deep = read(folder, "1.tif", data(), 3)
    assert isinstance(deep, DeepGrey)
    assert (seen.mode, seen.problem) == (mode, "")
    assert (deep.extent.least, deep.extent.largest, deep.integer) == (*values, integer)
    assert deep.plane.shape == (SIZE, SIZE)
    assert deep.plane.dtype == np.float32
    assert (deep.plane[0, 0], deep.plane[0, -1]) == values


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_no_numbers_are_refused(folder: Path, value: float) -> None:
    """One NaN would make a whole set of images NaN; its file is told apart instead."""
    values = np.zeros((20, 20), dtype=np.float32)
    values[3, 4] = value
    problem = refused(folder, "1.tif", encoded(Image.fromarray(values), "TIFF"))
    assert problem == "unreadable: has values that are no numbers"


def test_deep_grey_is_turned_upright(folder: Path) -> None:
    """16-bit photographs follow their EXIF orientation, too."""
    image = Image.new("I;16", (64, 32), 0)
    image.paste(5000, (0, 0, 16, 8))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "1.png", exif=exif)
    seen, deep = read(folder, "1.png", data(), 1)
    assert isinstance(deep, DeepGrey)
    assert (seen.width, seen.height) == (32, 64)
    assert [place for place in CORNERS if deep.plane[place] > 4000] == [(0, -1)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-(2**16), 2**16), min_size=4, max_size=4),
    st.integers(0, 2**16),
    st.integers(0, 2**16),
    st.sampled_from([1, 2, 3, 4]),
)
def test_to_8_bits_keeps_the_order(values: list[int], below: int, above: int, channels: int) -> None:
    """Darker stays darker, the ends of the range are black and white, and every colour channel is the same."""
    low, high = min(values) - below, max(values) + above
    pixels = to_8_bits(np.array(values, dtype=np.float32).reshape(2, 2), low, high, channels)
    assert pixels.shape == (2, 2, channels)
    grey = pixels[..., 0].ravel().astype(int)
    assert (np.diff(grey[np.argsort(values)]) >= 0).all()
    if high > low:
        assert np.abs(grey - (np.array(values) - low) * 255 / (high - low)).max() <= 1
    else:
        assert grey.max() == 0
    colours = channels - (channels in {2, 4})
    assert all((pixels[..., at] == pixels[..., 0]).all() for at in range(colours))
    assert channels == colours or (pixels[..., -1] == 255).all()


# ---- formats


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_by_its_content(folder: Path, kind: str) -> None:
    """A file is what is in it, whatever its name says."""
    content = encoded(Image.new("RGB", (20, 20), (200, 40, 90)), kind, **({"quality": 95} if kind == "AVIF" else {}))
    for name in ("1.jpg", "2.png", "3.tar", "4"):
        (folder / name).write_bytes(content)
        seen, pixels = read(folder, name, data(), 3)
        assert seen.problem == ""
        assert seen.format == ("JPEG" if kind == "MPO" else kind)  # one frame alone is a JPEG
        assert isinstance(pixels, np.ndarray)
        assert np.abs(pixels.astype(int) - (200, 40, 90)).max() <= 8


@pytest.mark.parametrize("kind", ["EPS", "PDF", "ICO", "TGA", "PCX", "IM", "SPIDER", "DDS", "SGI", "PSD", "FITS"])
def test_other_formats_are_not_opened(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Formats that start other programs or are no photographs are refused, under any name, in plain words."""
    Image.init()
    if kind in Image.SAVE:
        content = encoded(Image.new("F" if kind == "SPIDER" else "RGB", (20, 20), 3), kind)
    else:
        content = {"PSD": b"8BPS\0\1", "FITS": b"SIMPLE  =                    T"}[kind].ljust(2880, b" ")
    if kind in Image.OPEN:
        monkeypatch.setitem(Image.OPEN, kind, (lambda *_: pytest.fail("was opened"), None))
    for name in ("1.png", f"1.{kind.lower()}"):
        problem = refused(folder, name, content)
        assert "none of the formats that are read (AVIF, BMP, GIF" in problem
        assert kind not in problem


def test_what_is_seen_of_a_file(folder: Path) -> None:
    """Width, height, mode, format, size and digest are those of the file itself, not of its pixels."""
    Image.new("LA", (21, 34)).save(folder / "1.png")
    content = (folder / "1.png").read_bytes()
    seen, _ = read(folder, "1.png", data(), 3)
    assert seen == ImageFacts(21, 34, "LA", "PNG", False, len(content), hashlib.sha256(content).hexdigest())


# Where the stored top left corner is seen: the EXIF standard.
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "corner"),
    [(1, (0, 0)), (2, (0, -1)), (3, (-1, -1)), (4, (-1, 0)), (5, (0, 0)), (6, (0, -1)), (7, (-1, -1)), (8, (-1, 0))],
)
def test_exif_orientation(folder: Path, kind: str, orientation: int, corner: tuple[int, int]) -> None:
    """Photographs are turned the way the camera was held, and their sides are those of the upright picture."""
    image = Image.new("L", (64, 32), 0)
    image.paste(255, (0, 0, 16, 8))  # a quarter of each side, at the top left
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decoded(folder, image, 1, format=kind, exif=exif)[..., 0]
    assert {place for place in CORNERS if pixels[place] > 200} == {corner}
    seen, _ = read(folder, "1.png", data(), 1)
    assert (seen.width, seen.height) == ((32, 64) if orientation > 4 else (64, 32))


def test_exif_turn_exchanges_the_sides(folder: Path) -> None:
    """A turn by 90 degrees comes before resizing: a bar along the long side lies along the other axis."""
    image = Image.new("L", (64, 32), 0)
    image.paste(255, (0, 0, 64, 8))
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = decoded(folder, image, 1, exif=exif)[..., 0]
    assert (pixels[:, -1] > 200).all()
    assert (pixels[:, 0] < 50).all()


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientation_that_does_not_exist_is_ignored(folder: Path, orientation: int) -> None:
    """A camera's nonsense doesn't cost the photograph."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert (decoded(folder, Image.new("L", (20, 20), 50), 1, exif=exif) == 50).all()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "MPO", "AVIF"])
def test_animations_give_their_first_frame(folder: Path, kind: str) -> None:
    """Of an animation, a multi-page scan or a stereo pair, the first picture counts, and it is known to have more."""
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue", "lime")]
    pixels = decoded(folder, frames[0], format=kind, save_all=True, append_images=frames[1:])
    assert np.abs(pixels.astype(int) - (255, 0, 0)).max() <= 8
    seen, _ = read(folder, "1.png", data(), 3)
    assert seen.animated
    assert seen.format == kind


def test_still_pictures_are_not_animated(folder: Path) -> None:
    """A GIF of one frame is a picture like others."""
    decoded(folder, Image.new("P", (20, 20)), format="GIF")
    assert not read(folder, "1.png", data(), 3)[0].animated


# ---- limits, paths, what is no image


def test_bomb_is_not_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of more pixels than allowed is refused by its header, without its pixels being unpacked."""
    Image.new("1", (3000, 3000)).save(folder / "bomb.png")
    loaded: list[tuple[int, int]] = []
    real = Image.Image.load

    def load(image: Image.Image) -> Any:
        loaded.append(image.size)
        return real(image)

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    kind, problem = reason(folder, "bomb.png", max_pixels=8_999_999)
    assert (kind, problem) == ("too large", "3000x3000 pixels are more than data.max_pixels (8999999)")
    assert loaded == []


def test_limits_are_inclusive(folder: Path) -> None:
    """As many pixels and bytes as the limit says are allowed, one more is not."""
    Image.new("L", (10, 10)).save(folder / "1.png")
    size = (folder / "1.png").stat().st_size
    assert read(folder, "1.png", data(max_pixels=100, max_bytes=size), 1)[0].problem == ""
    assert reason(folder, "1.png", max_pixels=99) == ("too large", "10x10 pixels are more than data.max_pixels (99)")
    problem = f"{size} bytes are more than data.max_bytes ({size - 1})"
    assert reason(folder, "1.png", max_bytes=size - 1) == ("too large", problem)


def test_large_file_is_not_even_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file beyond data.max_bytes takes no memory."""
    with (folder / "1.png").open("wb") as stream:
        stream.truncate(2**40)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("was read"))
    assert reason(folder, "1.png")[0] == "too large"


@pytest.mark.parametrize("name", ["../secret.png", "a/../../secret.png", "{outside}", "out.png", "folder/secret.png"])
def test_nothing_outside_the_folder_is_read(folder: Path, tmp_path: Path, name: str) -> None:
    """Paths with dots, absolute ones, links to files and linked folders lead nowhere else."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for place in (tmp_path, elsewhere):
        Image.new("RGB", (20, 20), 5).save(place / "secret.png")
    (folder / "a").mkdir()
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "folder").symlink_to(elsewhere)
    name = name.format(outside=tmp_path / "secret.png")
    kind, problem = reason(folder, name)
    assert kind == "outside"
    assert ("data folder, which 'follow_links: true'" in problem) == name.startswith(("out", "folder/"))
    assert is_grey(folder, name, data()) is None


@pytest.mark.parametrize("name", ["out.png", "folder/secret.png", "../elsewhere/secret.png"])
def test_links_to_a_folder_that_they_may_lead_to(folder: Path, tmp_path: Path, name: str) -> None:
    """Links are followed into a folder that is named, such as DVC's cache; a path with dots still leads nowhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Image.new("L", (20, 20), 5).save(elsewhere / "secret.png")
    (folder / "out.png").symlink_to(elsewhere / "secret.png")
    (folder / "folder").symlink_to(elsewhere)
    (tmp_path / "linked").symlink_to(elsewhere)
    for allowed in (elsewhere, tmp_path / "linked"):
        seen, _ = read(folder, name, data(), 1, links_to=[allowed])
        grey = is_grey(folder, name, data(), [allowed])
        assert (seen.kind, grey) == (("outside", None) if name.startswith("..") else ("", True))
    assert reason(folder, name)[0] == "outside"


def test_links_within_the_folder_are_followed(folder: Path) -> None:
    """A link to an image of the same folder is that image; so is a data folder that is itself a link."""
    decoded(folder, Image.new("L", (20, 20), 9), 1)
    (folder / "link.png").symlink_to("1.png")
    (folder.parent / "linked").symlink_to(folder)
    for root, name in ((folder, "link.png"), (folder.parent / "linked", "1.png")):
        pixels = read(root, name, data(), 1)[1]
        assert isinstance(pixels, np.ndarray)
        assert np.unique(pixels).tolist() == [9]


def test_links_that_lead_nowhere(folder: Path) -> None:
    """A link in a circle is unreadable, one to a file that is gone is missing."""
    (folder / "circle.png").symlink_to("circle.png")
    (folder / "gone.png").symlink_to("none.png")
    assert reason(folder, "circle.png")[0] == "unreadable"
    assert reason(folder, "gone.png") == ("missing", "it links to a file that is gone")


def test_what_is_no_file(folder: Path) -> None:
    """Nothing, a folder and a pipe are missing files, and nobody waits for what never comes."""
    (folder / "a.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    for name in ("none.png", "a.png", "pipe.png", "none/none.png"):
        assert reason(folder, name) == ("missing", "there is no such file")
        assert is_grey(folder, name, data()) is None


@pytest.mark.parametrize("name", ["a\0b.png", "a" * 300 + ".png", ""])
def test_names_that_no_file_can_have(folder: Path, name: str) -> None:
    """A listed name that the system doesn't take is a problem of that file alone."""
    assert reason(folder, name)[0] in {"unreadable", "missing"}


def test_empty_file(folder: Path) -> None:
    """A file without a byte, the usual trace of a failed copy, is called empty."""
    assert refused(folder, "1.png", b"") == "unreadable: the file is empty"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "BMP", "JPEG2000", "GIF", "PPM", "AVIF"])
def test_truncated_file_is_not_half_read(folder: Path, kind: str) -> None:
    """A file that ends in the middle of its pixels is unreadable, even if its header is fine."""
    content = encoded(noise("RGB", 64, 64), kind)
    refused(folder, "1.img", content[: len(content) * 3 // 4])


def test_reasons_are_the_same_every_time(folder: Path) -> None:
    """A reason names the file as the data do, and neither a place in memory nor a folder of this machine."""
    samples = [b"text", b"\x89PNG\r\n\x1a\n", encoded(noise(), "PNG")[:60], encoded(noise(), "JPEG")[:300], b"BM" * 40]
    for content in samples:
        reasons = {refused(folder, f"{at}.png", content) for at in range(3)}
        assert len(reasons) == 1
        assert str(folder) not in reasons.pop()
    (folder / "locked.png").symlink_to("locked.png")
    assert str(folder) not in reason(folder, "locked.png")[1]


def test_known_files_are_not_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made of the same bytes earlier is taken, unless it is larger than what is allowed now."""
    pixels = decoded(folder, noise(), 3)
    seen = read(folder, "1.png", data(), 3)[0]
    asked: list[str] = []

    def known(digest: str) -> tuple[ImageFacts, Any]:
        asked.append(digest)
        return seen, pixels

    monkeypatch.setattr(reading, "decode", lambda *_: pytest.fail("was decoded"))
    assert read(folder, "1.png", data(), 3, known) == (seen, pixels)
    assert asked == [seen.sha256]
    monkeypatch.undo()
    assert read(folder, "1.png", data(max_pixels=100), 3, known)[0].kind == "too large"


@pytest.mark.parametrize(
    ("mode", "grey"),
    [("1", True), ("L", True), ("LA", True), ("I;16", True), ("P", False), ("RGB", False), ("RGBA", False)],
)
def test_header_tells_grey_from_colour(folder: Path, mode: str, grey: bool) -> None:
    """One channel is enough for grey, of any depth."""
    Image.new(mode, (20, 20)).save(folder / "1.png")
    assert is_grey(folder, "1.png", data()) is grey


# ---- damaged files


def mutants(count: int) -> Iterator[bytes]:
    """Yield valid files that were cut, changed, spliced, or given a header that claims another size."""
    rng = random.Random(20)  # noqa: S311 - no secret
    pairs = [
        ("PNG", "L"), ("PNG", "P"), ("PNG", "RGBA"), ("PNG", "I;16"), ("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"),
        ("GIF", "P"), ("BMP", "RGB"), ("TIFF", "RGB"), ("TIFF", "F"), ("WEBP", "RGBA"), ("JPEG2000", "RGB"),
        ("PPM", "RGB"), ("AVIF", "RGB"),
    ]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = 6
    valid = [encoded(noise("L").convert(mode) if mode[0] in "IF" else noise(mode), kind) for kind, mode in pairs]
    valid.append(encoded(noise(), "JPEG", exif=exif))
    valid.append(encoded(noise(), "TIFF", compression="tiff_lzw"))
    frames = [noise("L"), noise("L").rotate(180), noise("P")]
    valid.extend(encoded(frames[0], kind, save_all=True, append_images=frames[1:]) for kind in ("GIF", "PNG", "WEBP"))
    for at in range(count):
        content = bytearray(rng.choice(valid))
        kind = at % 5
        if kind == 0:
            del content[rng.randrange(len(content)) :]
        elif kind == 1:
            for _ in range(rng.choice((1, 1, 2, 8, 40))):
                content[rng.randrange(len(content))] = rng.randrange(256)
        elif kind == 2:  # the header is where a decoder decides how much memory it takes
            for _ in range(rng.choice((1, 2, 4))):
                content[rng.randrange(min(64, len(content)))] ^= 1 << rng.randrange(8)
        elif kind == 3:
            other = rng.choice(valid)
            content[rng.randrange(len(content)) :] = other[rng.randrange(len(other)) :]
        else:
            content = bytearray(bomb(rng))
        yield bytes(content)


def bomb(rng: random.Random) -> bytes:
    """Return a small file that claims to be a large image."""
    width, height = rng.choice([(60000, 60000), (2**31 - 1, 2**31 - 1), (1, 2**31 - 1), (1000, 1000), (65535, 1)])
    kind = rng.randrange(4)
    if kind == 0:
        header = struct.pack(">IIBBBBB", width, height, rng.choice((1, 8, 16)), rng.choice((0, 2, 3, 6)), 0, 0, 0)
        chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
        checked = [(name + body, len(body)) for name, body in chunks]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", size) + body + struct.pack(">I", zlib.crc32(body)) for body, size in checked
        )
    if kind == 1:
        return f"P6 {width} {height} 255\n".encode() + bytes(300)
    if kind == 2:
        return b"GIF89a" + encoded(noise("P"), "GIF")[6:].replace(struct.pack("<HH", 24, 20), b"\xff" * 4)
    small = bytearray(encoded(noise(), "JPEG"))
    at = small.index(b"\xff\xc0") + 5
    small[at : at + 4] = b"\xff" * 4
    return bytes(small)


@pytest.mark.timeout(120)
def test_damaged_files_are_told_apart(folder: Path, tmp_path: Path) -> None:
    """2,000 damaged files neither stop nor delay a run: what is used is whole, and the rest has a reason."""
    names = [f"{at}.img" for at in range(MUTANTS)]
    for name, content in zip(names, mutants(MUTANTS), strict=True):
        (folder / name).write_bytes(content)
    started = time.monotonic()
    params = data(channels=3, max_pixels=MUTANT_PIXELS)
    ingested = ingest(folder, names, params, tmp_path / "none.npy", tmp_path / "work")
    assert time.monotonic() - started < 60
    usable = 0
    for name, seen in zip(names, ingested.images, strict=True):
        if seen.problem:
            assert seen.kind in {"unreadable", "too large"}, (name, seen)
            assert "\n" not in seen.problem
            assert len(seen.problem) < 250
        else:
            usable += 1
            assert seen.width * seen.height <= MUTANT_PIXELS
            with Image.open(folder / name) as image:
                image.load()
    assert MUTANTS * 0.05 < usable < MUTANTS * 0.6
    large = sum(seen.kind == "too large" for seen in ingested.images)
    assert large > MUTANTS * 0.1
