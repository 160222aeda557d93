"""What is said of a set before it is trained on: pages that aren't read, scenes, odd groups, shares that are missed."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tasks.data import remarks
from tasks.data.reading import read
from tasks.data.scenes import NO_SCENE
from tasks.params import DataParams, SplitParams
from tests.benchmarks.duplicates import fixed_camera
from tests.support.project import Project, make_project

DATA = DataParams(source="folder", path="images", size=16)


def said_of(folder: Path) -> list[str]:
    """Return what is said of the files in a folder."""
    names = sorted(path.name for path in folder.iterdir())
    seen = [read(folder, name, DATA, 1)[0] for name in names]
    assert [image.problem for image in seen] == [""] * len(names)
    return remarks.on_frames(names, seen)


def write_frames(path: Path, count: int, **options: Any) -> None:
    """Write an image of several frames."""
    frames = [Image.fromarray(np.full((20, 20), 10 * at, dtype=np.uint8)) for at in range(count)]
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)


@pytest.mark.parametrize("suffix", [".tif", ".gif", ".png", ".webp"])
def test_files_of_several_frames_are_counted_and_named(tmp_path: Path, suffix: str) -> None:
    """Pages, slices and frames that aren't read are said, with their number, and what to do."""
    for name, frames in (("a", 1), ("b", 12), ("c", 3)):
        write_frames(tmp_path / f"{name}{suffix}", frames)
    (note,) = said_of(tmp_path)
    assert note.startswith("2 files have more pages or frames than the first")
    assert f"b{suffix} (12)" in note
    assert f"c{suffix} (3)" in note
    assert f"a{suffix}" not in note
    assert "only the first is read" in note


def test_of_many_files_of_several_frames_five_are_named(tmp_path: Path) -> None:
    """The note stays one line."""
    for at in range(8):
        write_frames(tmp_path / f"{at}.gif", 2)
    (note,) = said_of(tmp_path)
    assert note.startswith("8 files")
    assert "4.gif" in note
    assert "5.gif" not in note


def write_deep_colour(path: Path, kind: int, channels: int) -> None:
    """Write a PNG of 16 bits a channel, which Pillow can't."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = (b"\0" + struct.pack(f">{16 * channels}H", *[3000] * (16 * channels))) * 16
    head = struct.pack(">IIBBBBB", 16, 16, 16, kind, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_colour_of_16_bits_is_said_to_be_halved(tmp_path: Path, kind: int, channels: int) -> None:
    """What Pillow takes the upper half of is said; grey of 16 bits is read in full, and isn't."""
    write_deep_colour(tmp_path / "a.png", kind, channels)
    Image.new("I;16", (16, 16), 3000).save(tmp_path / "b.png")
    Image.new("RGB", (16, 16)).save(tmp_path / "c.png")
    Image.new("RGB", (16, 16)).save(tmp_path / "d.ppm")
    (tmp_path / "e.ppm").write_bytes(b"P6 16 16 65535\n" + b"\x0b\xb8" * 16 * 16 * 3)
    (note,) = said_of(tmp_path)
    assert note.startswith("2 files have 16 bits a colour, such as a.png")


def test_damage_behind_the_first_page_costs_nothing(tmp_path: Path) -> None:
    """A stack whose second page is cut off gives its first, and is said to have more."""
    path = tmp_path / "a.tif"
    frames = [Image.fromarray(np.full((64, 64), value, dtype=np.uint8)) for value in (10, 200, 90)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3 - 100])
    image, pixels = read(tmp_path, "a.tif", DATA, 1)
    assert image.problem == ""
    assert image.frames >= 2
    assert isinstance(pixels, np.ndarray)
    assert set(np.unique(pixels)) == {10}


def manifest_of(*groups: tuple[str, str, int]) -> pd.DataFrame:
    """Return a manifest of some images of each group and label."""
    rows = [(f"{label}/{group}{at}.png", label, group) for group, label, count in groups for at in range(count)]
    return pd.DataFrame(rows, columns=["path", "label", "group"])


def test_a_group_of_many_images_is_named_with_its_classes() -> None:
    """More than a fifth of the images in one group is said, with what is in it and which param decides."""
    notes = remarks.on_groups(manifest_of(("alike-1", "good", 9), ("alike-2", "bad", 4), ("", "bad", 27)), 0.9)
    assert "'alike-1'" in notes[0]
    assert "9 images: 9 good" in notes[0]
    assert "22%" in notes[0]
    assert "split.near_duplicates (0.9)" in notes[1]
    assert len(notes) == 2


def test_groups_that_mix_classes_are_counted_and_the_largest_is_named() -> None:
    """One line, however many there are; groups that the source gave may mix what they like."""
    table = manifest_of(("alike-1", "good", 2), ("alike-1", "bad", 3), ("alike-2", "good", 1), ("alike-2", "bad", 1))
    table = pd.concat([table, manifest_of(("patient", "good", 2), ("patient", "bad", 2), ("", "bad", 40))])
    notes = remarks.on_groups(table.reset_index(drop=True), 0.9)
    assert "2 groups of images that show the same mix classes" in notes[0]
    assert "'alike-1' (5 images: 3 bad, 2 good; such as " in notes[0]
    assert "good/" in notes[0]
    assert "bad/" in notes[0]
    assert not any("patient" in note for note in notes)


def test_ordinary_groups_are_not_remarked_on() -> None:
    """Small groups of one class each are what is expected."""
    assert remarks.on_groups(manifest_of(("alike-1", "good", 3), ("alike-2", "bad", 4), ("", "bad", 27)), 0.9) == []


@pytest.mark.parametrize(("counts", "said"), [((60, 15, 25), []), ((38, 15, 47), ["test"]), ((72, 4, 24), ["val"])])
def test_shares_that_miss_their_target_are_said(counts: tuple[int, int, int], said: list[str]) -> None:
    """A split off by more than a third of what was asked for is named with both shares."""
    splits = pd.Series(np.repeat(["train", "val", "test"], counts))
    notes = remarks.on_shares(splits, SplitParams(validation=0.15, test=0.25))
    assert [note.split()[1] for note in notes] == said


def test_scenes_are_told_with_two_of_their_shots() -> None:
    """The largest first; images of no scene don't count."""
    scenes = np.array([NO_SCENE, 4, 4, 7, 7, 7])
    first, second = remarks.on_scenes([f"{at}.png" for at in range(6)], scenes)
    assert first.startswith("3 of 6 images are shots of one scene, such as 3.png and 5.png")
    assert second.startswith("2 of 6 images are shots of one scene, such as 1.png and 2.png")


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of a fixed camera's shots, good ones and such with a scratch."""
    folder = tmp_path_factory.mktemp("fixed")
    images, labels = fixed_camera(30, 4, 50, np.random.default_rng(0))
    for place, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / "images" / ("good", "broken")[label] / f"{place:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    return make_project(folder / "project", folder / "images")


def test_prepare_divides_the_shots_of_a_fixed_camera(fixed: Project) -> None:
    """Every split has images of both classes, none is in a group, and that it is one scene is said."""
    printed = fixed.steps("fetch", "prepare")
    assert "60 of 60 images are shots of one scene" in printed
    table = pd.read_parquet(fixed.root / "data/manifest.parquet")
    assert (table["group"] == "").all()
    assert (table.groupby(["split", "label"]).size() > 0).sum() == 6
