"""The size that is worked at follows from the images, unless params say it."""

from pathlib import Path

import pytest
from PIL import Image

from tasks.data.working_size import LARGE, LARGE_FROM, SMALL, resolve_size
from tasks.params import DataParams


def photos(folder: Path, *sizes: tuple[int, int]) -> list[str]:
    """Write an image of each width and height; return their names."""
    for place, size in enumerate(sizes):
        Image.new("RGB", size).save(folder / f"{place}.png")
    return [f"{place}.png" for place in range(len(sizes))]


def size_for(folder: Path, names: list[str], size: int | str = "auto") -> int:
    """Return the size that images of a folder are worked at."""
    return resolve_size(folder, names, DataParams.model_validate({"source": "folder", "path": ".", "size": size}))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(100, 100), (128, 128)], SMALL),
        ([(640, LARGE_FROM - 1)], SMALL),  # the shorter side decides
        ([(640, LARGE_FROM)], LARGE),
        ([(384, 512), (384, 512), (60, 60)], LARGE),  # most of them do
    ],
)
def test_small_images_are_not_enlarged_as_far(tmp_path: Path, sizes: list[tuple[int, int]], expected: int) -> None:
    """Half of them or more being small decides."""
    assert size_for(tmp_path, photos(tmp_path, *sizes)) == expected


def test_what_params_say_is_done(tmp_path: Path) -> None:
    """Whatever the images are."""
    assert size_for(tmp_path, photos(tmp_path, (100, 100)), 96) == 96


def test_files_that_are_no_images_have_no_say(tmp_path: Path) -> None:
    """They are reported elsewhere; where nothing is left to look at, the size is the usual one."""
    names = photos(tmp_path, (100, 100))
    for name in ("damaged.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"\x89PNG no image")
    assert size_for(tmp_path, ["damaged.png", "notes.txt", "gone.png", *names]) == SMALL
    assert size_for(tmp_path, ["damaged.png", "gone.png"]) == size_for(tmp_path, []) == LARGE


def test_nothing_outside_is_looked_at(tmp_path: Path) -> None:
    """A name that leads out of the folder is not opened."""
    inside = tmp_path / "inside"
    inside.mkdir()
    photos(tmp_path, (100, 100))
    assert size_for(inside, ["../0.png"]) == LARGE
