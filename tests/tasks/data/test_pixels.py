"""Pixels: every kind of image file ends as the right pixels, or as a reason why not."""

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.data.pixels import ReadImage, fill_store, open_store, read_header
from tests.conftest import ROOT

SIZE = 16
LIMIT = 10_000_000
RESAMPLED = 2  # largest difference that resizing and colour conversion may make
OVER_THE_LIMIT = """
import resource, sys
from pathlib import Path
from tasks.data.pixels import fill_store
from tasks.errors import UserError

resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    fill_store(Path(sys.argv[1]), ["1.png"], Path(sys.argv[2]), 224, 3, 10**6)
except UserError as error:
    print(error)
    sys.exit(2)
"""


def read(folder: Path, *names: str, channels: int = 3, max_pixels: int = LIMIT) -> tuple[list[ReadImage], Any]:
    """Fill a store beside ``folder`` from its files; return what was seen and the store."""
    target = folder.parent / "pixels.npy"
    seen = fill_store(folder, names, target, SIZE, channels, max_pixels)
    return seen, open_store(target)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty data folder."""
    target = tmp_path / "images"
    target.mkdir()
    return target


def one(folder: Path, image: Image.Image, channels: int = 3, name: str = "1.png", **options: Any) -> Any:
    """Save an image, read it through a store, and return its pixels."""
    image.save(folder / name, **options)
    (seen,), store = read(folder, name, channels=channels)
    assert seen.problem == ""
    assert (seen.width, seen.height) == image.size
    assert store.shape == (1, SIZE, SIZE, channels)
    assert store.dtype == np.uint8
    return store[0]


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "CMYK"])
@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_is_the_last_of_an_even_number_of_channels(folder: Path, mode: str, channels: int) -> None:
    """Colour under it is as it was, not composited; an image without alpha is opaque."""
    has_alpha = mode.endswith("A")
    image = Image.new("RGBA" if has_alpha else "RGB", (SIZE, SIZE), (40, 120, 200, 100)[: 3 + has_alpha]).convert(mode)
    pixels = one(folder, image, channels, name="1.tiff" if mode == "CMYK" else "1.png")
    assert np.unique(pixels[..., -1]).tolist() == [100 if has_alpha else 255]
    expected = np.asarray(image.convert("RGB").convert("L" if channels == 2 else "RGB"), dtype=int)
    difference = pixels[..., :-1].astype(int) - expected.reshape(SIZE, SIZE, channels - 1)
    assert np.abs(difference).max() <= RESAMPLED


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("mode", "colour", "rgb"),
    [
        ("1", 1, (255, 255, 255)),
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
        ("I;16", 0x4D3A, (0x4D, 0x4D, 0x4D)),
        ("I;16", 0xFFFF, (255, 255, 255)),
    ],
)
def test_modes(folder: Path, mode: str, colour: Any, rgb: tuple[int, int, int], channels: int) -> None:
    """Each mode keeps its colour, and its grey is the usual luma of that colour."""
    image = Image.new(mode, (20, 30), colour)
    pixels = one(folder, image, channels, "1.tif" if mode == "CMYK" else "1.png")
    luma = (299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2]) / 1000
    expected = rgb if channels == 3 else (luma,)
    assert np.abs(pixels.astype(int) - np.array(expected)).max() <= RESAMPLED


@pytest.mark.parametrize("transparent", [False, True])
def test_palette(folder: Path, transparent: bool) -> None:
    """A palette's colours are looked up, and its transparent colour is white."""
    image = Image.new("P", (20, 20), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    options: dict[str, Any] = {"transparency": 1} if transparent else {}
    pixels = one(folder, image, 3, **options)
    assert pixels.tolist() == [[[255, 255, 255] if transparent else [10, 200, 30]] * SIZE] * SIZE


@pytest.mark.parametrize("mode", ["I", "F"])
def test_modes_without_a_range_are_refused(folder: Path, mode: str) -> None:
    """A floating-point image has no black and white to go by; it isn't silently clipped."""
    Image.new(mode, (20, 20), 1000).save(folder / "1.tif")
    (seen,), store = read(folder, "1.tif")
    assert f"mode {mode}" in seen.problem
    assert len(store) == 0


# Where the stored top left corner is seen, and whether width and height change places: the EXIF standard.
@pytest.mark.parametrize(
    ("orientation", "corner"),
    [(1, (0, 0)), (2, (0, -1)), (3, (-1, -1)), (4, (-1, 0)), (5, (0, 0)), (6, (0, -1)), (7, (-1, -1)), (8, (-1, 0))],
)
def test_exif_orientation(folder: Path, orientation: int, corner: tuple[int, int]) -> None:
    """Photographs are turned the way the camera was held."""
    image = Image.new("L", (64, 32), 0)
    image.paste(255, (0, 0, 16, 8))  # a quarter of each side, at the top left
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = one(folder, image, 1, "1.png", exif=exif)[..., 0]
    bright = {place for place in ((0, 0), (0, -1), (-1, 0), (-1, -1)) if pixels[place] > 200}
    assert bright == {corner}


def test_exif_turn_exchanges_the_sides(folder: Path) -> None:
    """A turn by 90 degrees comes before resizing: a bar along the long side lies along the other axis."""
    image = Image.new("L", (64, 32), 0)
    image.paste(255, (0, 0, 64, 8))
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = one(folder, image, 1, "1.png", exif=exif)[..., 0]
    assert (pixels[:, -1] > 200).all()
    assert (pixels[:, 0] < 50).all()


def test_resizing_keeps_the_picture(folder: Path) -> None:
    """A ramp from dark to bright is still one, in the same direction."""
    ramp = np.tile(np.linspace(0, 255, 200).astype(np.uint8), (100, 1))
    pixels = one(folder, Image.fromarray(ramp), 1)[..., 0].astype(int)
    assert (np.diff(pixels, axis=1) > 0).all()
    assert np.abs(np.diff(pixels, axis=0)).max() == 0


def test_what_is_seen_of_a_file(folder: Path) -> None:
    """Width, height, mode, size and digest are those of the file itself, not of its pixels in the store."""
    Image.new("LA", (21, 34)).save(folder / "1.png")
    content = (folder / "1.png").read_bytes()
    (seen,), _ = read(folder, "1.png")
    assert seen == ReadImage(21, 34, "LA", len(content), hashlib.sha256(content).hexdigest())


def test_unusable_files_leave_no_gap(folder: Path, cells: Path) -> None:
    """Bad files among good ones are told apart, and the store holds the good ones in their order."""
    for index, value in enumerate((10, 20, 30)):
        Image.new("L", (20, 20), value).save(folder / f"{index}.png")
    (folder / "text.jpg").write_text("this is not a photograph")
    (folder / "empty.png").touch()
    whole = next((cells / "intact").iterdir()).read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    names = ["text.jpg", "0.png", "cut.png", "gone.png", "1.png", "empty.png", "2.png"]
    seen, store = read(folder, *names, channels=1)
    assert [bool(image.problem) for image in seen] == [True, False, True, True, False, True, False]
    assert all(image.problem.startswith("unreadable: ") for image in seen if image.problem)
    assert store[:, 0, 0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_truncated_file_is_not_half_read(folder: Path, kind: str) -> None:
    """A file that ends in the middle of its pixels is unreadable, even if its header is fine."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64), dtype=np.uint8)).save(folder / "1.img", format=kind)
    content = (folder / "1.img").read_bytes()
    (folder / "1.img").write_bytes(content[: len(content) * 3 // 4])
    assert read_header(folder / "1.img") == "L"
    (seen,), _ = read(folder, "1.img")
    assert "truncated" in seen.problem


def test_every_file_unusable(folder: Path) -> None:
    """No image at all makes an empty store, and reasons."""
    for name in ("1.png", "2.png"):
        (folder / name).write_text("nothing")
    seen, store = read(folder, "1.png", "2.png")
    assert all(image.problem for image in seen)
    assert store.shape == (0, SIZE, SIZE, 3)


def test_link_that_leaves_the_folder_is_not_followed(folder: Path, tmp_path: Path) -> None:
    """A link to an image elsewhere is refused, one within the folder is read, and one in a circle is unreadable."""
    Image.new("L", (20, 20), 5).save(tmp_path / "secret.png")
    Image.new("L", (20, 20), 9).save(folder / "own.png")
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "within.png").symlink_to(folder / "own.png")
    (folder / "circle.png").symlink_to("circle.png")
    (out, within, circle), store = read(folder, "out.png", "within.png", "circle.png", channels=1)
    assert "a link that leaves the data folder" in out.problem
    assert within.problem == ""
    assert "unreadable" in circle.problem
    assert store[:, 0, 0, 0].tolist() == [9]


def test_path_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    """A listed path with dots leads nowhere else."""
    Image.new("L", (20, 20), 5).save(tmp_path / "secret.png")
    (seen,), store = read(folder, "../secret.png")
    assert seen.problem
    assert len(store) == 0


def test_bomb_is_not_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of more pixels than allowed is refused by its header, without its pixels being unpacked."""
    Image.new("1", (3000, 3000)).save(folder / "bomb.png")
    Image.new("L", (10, 10)).save(folder / "small.png")
    resized: list[tuple[int, int]] = []
    real = Image.Image.resize

    def resize(image: Image.Image, *args: Any, **options: Any) -> Image.Image:
        resized.append(image.size)
        return real(image, *args, **options)

    monkeypatch.setattr(Image.Image, "resize", resize)
    (bomb, small), store = read(folder, "bomb.png", "small.png", max_pixels=100)
    assert "3000x3000 pixels are more than data.max_pixels (100)" in bomb.problem
    assert small.problem == ""
    assert resized == [(10, 10)]
    assert len(store) == 1


def test_store_is_read_only(folder: Path) -> None:
    """Training can't write into the images."""
    Image.new("L", (20, 20), 5).save(folder / "1.png")
    _, store = read(folder, "1.png")
    with pytest.raises(ValueError, match="read-only"):
        store[0] = 0


def test_full_disk_is_named_and_the_old_store_kept(folder: Path, tmp_path: Path) -> None:
    """No room for the store is a sentence for the user; it neither kills the process nor harms the old store."""
    Image.new("L", (20, 20), 5).save(folder / "1.png")
    target = tmp_path / "pixels.npy"
    target.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", OVER_THE_LIMIT, str(folder), str(target)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stdout.startswith(f"no space left while writing {target}")
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "pixels.npy"]


def test_store_takes_its_whole_space_before_anything_is_decoded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store with holes would kill the process on a disk that fills up meanwhile, so there are none."""
    Image.new("L", (20, 20), 5).save(folder / "1.png")
    held: list[bool] = []

    def look(*_: object) -> ReadImage:
        (store,) = tmp_path.glob(".pixels.npy.*/pixels.npy")
        held.append(store.stat().st_blocks * 512 >= store.stat().st_size)
        return ReadImage(problem="only looking")

    monkeypatch.setattr("tasks.data.pixels._read_into", look)
    fill_store(folder, ["1.png"], tmp_path / "pixels.npy", 1024, 3, LIMIT)
    assert held == [True]


@pytest.mark.parametrize(("mode", "seen"), [("1", "1"), ("L", "L"), ("RGBA", "RGBA"), ("I;16", "I;16")])
def test_header_tells_the_mode(folder: Path, mode: str, seen: str) -> None:
    """The mode is read without decoding."""
    Image.new(mode, (20, 20)).save(folder / "1.png")
    assert read_header(folder / "1.png") == seen


def test_header_of_what_is_no_image(folder: Path) -> None:
    """Text and nothing at all have no mode, and raise nothing."""
    (folder / "text.png").write_text("no image")
    assert read_header(folder / "text.png") == ""
    assert read_header(folder / "gone.png") == ""
