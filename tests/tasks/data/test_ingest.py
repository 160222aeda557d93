"""Ingest: every file once, unusable ones told apart, nothing done twice, and a killed run lost little."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.data import fingerprints, reading
from tasks.data.image_facts import ImageFacts
from tasks.data.ingest import Ingested, ingest, resolve_channels
from tasks.data.store import index_of, move, open_store
from tasks.params import DataParams
from tests.support.paths import ROOT

SIZE = 16

# An ingest in blocks of four files that kills itself when a function is called for the n-th time.
KILLED = """
import os, signal, sys
from pathlib import Path
from tasks.data import ingest as ingesting, store_writer
from tasks.params import DataParams

images, earlier, work, owner, name, count, half = sys.argv[1:]
ingesting.ROWS_A_BLOCK = 4
os.cpu_count = lambda: 2
left = int(count)
owner = {"writer": store_writer.Writer, "os": os, "path": Path, "run": ingesting._Ingestion}[owner]
real = getattr(owner, name)

def until(*given, **named):
    global left
    left -= 1
    if left > 0:
        return real(*given, **named)
    if half == "index":  # a line that is there in part
        given[0]._index.write('{"row": 1, "crc32": 12')
        given[0]._index.flush()
    if half == "row":
        real(given[0], given[1][: len(given[1]) // 2], given[2])
    os.kill(os.getpid(), signal.SIGKILL)

setattr(owner, name, until)
names = sorted(path.name for path in Path(images).iterdir())
params = DataParams(source="folder", path="images", size=16)
ingesting.ingest(Path(images), names, params, Path(earlier), Path(work))
"""

# Tells how many files are done, and then waits to be killed.
WAITING = """
import sys, time
from pathlib import Path
from tasks.data import ingest as ingesting
from tasks.params import DataParams

images, earlier, work, enough = sys.argv[1:]
ingesting.ROWS_A_BLOCK = 4
done = 0

def progress(count):
    global done
    done += count
    if done >= int(enough):
        print(done, flush=True)
        time.sleep(60)

names = sorted(path.name for path in Path(images).iterdir())
params = DataParams(source="folder", path="images", size=16)
ingesting.ingest(Path(images), names, params, Path(earlier), Path(work), progress)
"""


def data(**settings: Any) -> DataParams:
    """Return the section ``data`` of params."""
    return DataParams(source="folder", path="images", **{"size": SIZE, **settings})


class Place:
    """A data folder, the store made of it, and a place to work."""

    def __init__(self, folder: Path) -> None:
        self.images, self.store, self.work = folder / "images", folder / "pixels.npy", folder / "work"
        self.images.mkdir(parents=True)

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.images.iterdir())

    def fill(self, count: int, *, mode: str = "RGB", start: int = 0) -> None:
        """Write random images."""
        for at in range(start, start + count):
            values = np.random.default_rng(at).integers(0, 256, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(values).convert(mode).save(self.images / f"{at:03}.png")

    def ingest(self, names: Sequence[str] | None = None, **settings: Any) -> Ingested:
        """Ingest the files and put the store in its place."""
        ingested = ingest(self.images, self.names if names is None else names, data(**settings), self.store, self.work)
        move(ingested.store, self.store)
        return ingested

    def opened(self, ingested: Ingested) -> Any:
        """Return the store in its place, checked."""
        return open_store(self.store, {at: seen.sha256 for at, seen in enumerate(ingested.images) if not seen.problem})

    def contents(self) -> tuple[bytes, bytes]:
        return self.store.read_bytes(), index_of(self.store).read_bytes()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty data folder."""
    return Place(tmp_path / "place")


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every image that would be decoded an unreadable one."""

    def never(*_: object) -> Any:
        raise RuntimeError("was decoded")

    monkeypatch.setattr(reading, "decode", never)


# ---- what comes out


def test_unusable_files_keep_their_rows(place: Place) -> None:
    """Bad files among good ones are told apart, and every good one is at its own place in the store."""
    for value in (10, 20, 30):
        Image.new("L", (20, 20), value).save(place.images / f"{value}.png")
    (place.images / "text.jpg").write_text("this is not a photograph")
    (place.images / "empty.png").touch()
    place.fill(1)
    (place.images / "cut.png").write_bytes((place.images / "000.png").read_bytes()[:900])
    names = ["text.jpg", "10.png", "cut.png", "gone.png", "20.png", "empty.png", "../out.png", "30.png"]
    ingested = place.ingest(names)
    kinds = ["unreadable", "", "unreadable", "missing", "", "unreadable", "outside", ""]
    assert [seen.kind for seen in ingested.images] == kinds
    assert [bool(seen.problem) for seen in ingested.images] == [bool(kind) for kind in kinds]
    assert place.opened(ingested)[:, 0, 0, 0].tolist() == [0, 10, 0, 0, 20, 0, 0, 30]
    assert ingested.thumbnails.shape == (8, fingerprints.SIDE, fingerprints.SIDE)
    assert ingested.thumbnails[:, 5, 5].tolist() == [0, 10, 0, 0, 20, 0, 0, 30]
    assert ingested.reused == 0
    assert ingested.ranges == {}


def test_same_file_twice(place: Place) -> None:
    """A file that is listed twice, or copied, has its pixels in both rows."""
    place.fill(1)
    shutil.copy(place.images / "000.png", place.images / "copy.png")
    ingested = place.ingest(["000.png", "copy.png", "000.png"])
    rows = place.opened(ingested)
    assert (rows == rows[0]).all()
    assert rows.any()
    assert place.ingest(["copy.png", "000.png"]).reused == 2


def test_no_file_at_all(place: Place) -> None:
    """Nothing to read makes a store of nothing."""
    ingested = place.ingest([])
    assert (ingested.images, ingested.thumbnails.shape) == ([], (0, 32, 32))
    assert len(place.opened(ingested)) == 0


def test_every_file_unusable(place: Place) -> None:
    """No image at all makes reasons, and rows that nobody uses."""
    for name in ("1.png", "2.png"):
        (place.images / name).write_text("nothing")
    ingested = place.ingest()
    assert all(seen.kind == "unreadable" for seen in ingested.images)
    assert not place.opened(ingested).any()


def test_progress_adds_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown while reading ends at the number of files, whatever became of them."""
    monkeypatch.setattr("tasks.data.ingest.ROWS_A_BLOCK", 4)
    place.fill(9)
    counts: list[int] = []
    ingest(place.images, [*place.names, "gone.png"], data(), place.store, place.work, counts.append)
    assert sum(counts) == 10
    assert len(counts) == 3


def test_nothing_is_left_in_the_place_to_work(place: Place) -> None:
    """Once a store is in its place, no copy of it takes up room."""
    place.fill(3)
    for _ in range(2):
        place.ingest()
        assert list(place.work.iterdir()) == []


def test_threads_leave_no_trace(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the threads take turns, store, index and thumbnails are the same, byte by byte."""
    monkeypatch.setattr("tasks.data.ingest.ROWS_A_BLOCK", 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    place.fill(12)
    place.fill(4, mode="L", start=12)
    for at in range(6):
        Image.new("I;16", (20, 20), at * 100).save(place.images / f"deep{at}.png")
    (place.images / "bad.png").write_text("no image")
    names = place.names
    first = place.ingest(names)
    contents = place.contents()
    real = reading.read

    def late(*given: Any, **named: Any) -> Any:
        time.sleep(random.random() / 100)  # noqa: S311 - no secret
        return real(*given, **named)

    monkeypatch.setattr("tasks.data.ingest.read", late)
    for _ in range(3):
        place.store.unlink()
        again = place.ingest(names)
        assert again.reused == 0
        assert place.contents() == contents
        assert (again.thumbnails == first.thumbnails).all()
        assert again.images == first.images
    rows = [json.loads(line)["row"] for line in contents[1].splitlines()[1:]]
    assert rows == [row for row, name in enumerate(names) if name != "bad.png"]


# ---- channels


def channels(place: Place, *names: str, **settings: Any) -> int:
    """Return what ``auto`` comes to."""
    return resolve_channels(place.images, names, data(**settings))


@pytest.fixture
def mixed(place: Place) -> Place:
    """Grey and colour, whole and damaged, inside and outside."""
    place.fill(1, mode="L")
    place.fill(1, mode="RGB", start=1)
    whole = (place.images / "001.png").read_bytes()
    (place.images / "cut.png").write_bytes(whole[: len(whole) // 2])
    (place.images / "text.png").write_text("no image")
    Image.new("I;16", (20, 20), 9).save(place.images / "deep.png")
    Image.new("RGB", (20, 20)).save(place.images.parent / "out.png")
    (place.images / "link.png").symlink_to("../out.png")
    Image.new("RGB", (200, 200)).save(place.images / "large.png")
    os.mkfifo(place.images / "pipe.png")
    return place


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["000.png"], 1),
        (["001.png"], 3),
        (["000.png", "deep.png"], 1),
        (["000.png", "deep.png", "001.png", "000.png"], 3),
        (["text.png", "000.png"], 1),
        (["cut.png", "000.png"], 1),  # a colour image that can't be used
        (["000.png", "link.png"], 1),
        (["large.png", "000.png"], 1),
        (["gone.png", "pipe.png", "000.png"], 1),
        (["cut.png", "001.png"], 3),
        (["text.png"], 3),
        ([], 3),
    ],
)
def test_automatic_channels(mixed: Place, names: list[str], expected: int) -> None:
    """One channel where every usable image is grey, else three; files that can't be used have no say."""
    assert channels(mixed, *names, max_pixels=10_000) == expected


@pytest.mark.parametrize("asked", [1, 2, 3, 4])
def test_channels_that_are_asked_for(mixed: Place, asked: int) -> None:
    """What params say is what comes out, whatever the images are."""
    ingested = mixed.ingest(["000.png", "001.png", "deep.png"], channels=asked)
    assert mixed.opened(ingested).shape == (3, SIZE, SIZE, asked)


def test_first_colour_image_decides(mixed: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the headers of a million files when the first has colour."""
    looked: list[str] = []
    real = reading.is_grey

    def look(root: Path, name: str, *others: Any) -> Any:
        looked.append(name)
        return real(root, name, *others)

    monkeypatch.setattr("tasks.data.ingest.is_grey", look)
    assert channels(mixed, "000.png", "001.png", "000.png", "000.png") == 3
    assert looked == ["000.png", "001.png"]


# ---- grey beyond 8 bits


def test_deep_grey_is_scaled_by_the_range_of_the_set(place: Place) -> None:
    """Black and white are the smallest and largest value of all images of a kind; 8-bit images are as they were."""
    for name, low, high in (("a", 1000, 3000), ("b", 2000, 5000)):
        values = np.full((32, 32), low, dtype=np.uint16)
        values[:, 16:] = high
        Image.fromarray(values).save(place.images / f"{name}.png")
    for name, low, high in (("c", -1.0, 0.0), ("d", 0.5, 1.0)):
        floats = np.full((32, 32), low, dtype=np.float32)
        floats[:, 16:] = high
        Image.fromarray(floats).save(place.images / f"{name}.tif")
    Image.new("I", (32, 32), 3000).save(place.images / "e.tif")
    Image.new("L", (32, 32), 77).save(place.images / "f.png")
    ingested = place.ingest()
    assert [seen.problem for seen in ingested.images] == [""] * 6
    assert ingested.ranges == {"integer": (1000.0, 5000.0), "float": (-1.0, 1.0)}
    rows = place.opened(ingested)[..., 0]
    assert rows[:, 0, 0].tolist() == [0, 64, 0, 191, 128, 77]
    assert rows[:, 0, -1].tolist() == [128, 255, 128, 255, 128, 77]
    assert ingested.thumbnails[:, 0, 0].tolist() == rows[:, 0, 0].tolist()


def test_deep_grey_of_one_value(place: Place) -> None:
    """A set that is all the same has no range; it is black, and nothing divides by zero."""
    for at in range(2):
        Image.new("I;16", (20, 20), 4000).save(place.images / f"{at}.png")
    ingested = place.ingest(channels=4)
    assert ingested.ranges == {"integer": (4000.0, 4000.0)}
    assert np.unique(place.opened(ingested).reshape(-1, 4), axis=0).tolist() == [[0, 0, 0, 255]]


def test_nan_is_refused_and_leaves_the_range_alone(place: Place) -> None:
    """One file with NaN, or with infinity, doesn't spoil the others."""
    values = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    Image.fromarray(values).save(place.images / "a.tif")
    for name, bad in (("b", np.nan), ("c", np.inf)):
        spoilt = values.copy()
        spoilt[3, 3] = bad
        Image.fromarray(spoilt).save(place.images / f"{name}.tif")
    ingested = place.ingest()
    assert [seen.kind for seen in ingested.images] == ["", "unreadable", "unreadable"]
    assert ingested.ranges == {"float": (0.0, 1.0)}


def test_deep_grey_follows_the_set(place: Place) -> None:
    """Its pixels depend on all files, so an earlier store's are not taken when the set grows."""
    for at, value in enumerate((1000, 3000)):
        Image.new("I;16", (20, 20), value).save(place.images / f"{at}.png")
    assert place.opened(place.ingest())[:, 0, 0, 0].tolist() == [0, 255]
    Image.new("I;16", (20, 20), 5000).save(place.images / "2.png")
    ingested = place.ingest()
    assert place.opened(ingested)[:, 0, 0, 0].tolist() == [0, 128, 255]
    assert ingested.reused == 0


# ---- nothing is done twice


def test_second_ingest_decodes_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same files again cost no decoding, and the store is the same, byte by byte."""
    place.fill(9)
    first = place.ingest(channels=3)
    contents = place.contents()
    forbid_decoding(monkeypatch)
    again = place.ingest(channels=3)
    assert again.reused == 9
    assert again.images == first.images
    assert (again.thumbnails == first.thumbnails).all()
    assert place.contents() == contents


def test_automatic_channels_decode_one_image_at_most(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a set of colour images that was read before, only the one that decides is looked into again."""
    place.fill(9)
    place.ingest()
    decoded: list[int] = []
    real = reading.decode

    def count(*given: Any) -> Any:
        decoded.append(1)
        return real(*given)

    monkeypatch.setattr(reading, "decode", count)
    assert place.ingest().reused == 9
    assert len(decoded) == 1


def test_only_new_and_changed_files_are_decoded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were added, or have other content, are decoded; renamed, moved and reordered ones are not."""
    place.fill(6)
    place.ingest(channels=3)
    place.fill(3, start=6)  # added
    place.fill(1, start=100)
    (place.images / "100.png").replace(place.images / "003.png")  # changed
    (place.images / "004.png").rename(place.images / "zzz.png")  # renamed
    (place.images / "005.png").unlink()
    names = place.names[::-1]
    decoded: list[str] = []
    real = reading.decode

    def note(content: bytes, digest: str, *given: Any) -> Any:
        decoded.append(digest)
        return real(content, digest, *given)

    monkeypatch.setattr(reading, "decode", note)
    ingested = place.ingest(names, channels=3)
    by_name = dict(zip(names, ingested.images, strict=True))
    assert ingested.reused == 4
    assert sorted(decoded) == sorted(by_name[name].sha256 for name in ("003.png", "006.png", "007.png", "008.png"))
    rows = place.opened(ingested)
    for row, name in enumerate(names):
        pixels = reading.read(place.images, name, data(), 3)[1]
        assert isinstance(pixels, np.ndarray)
        assert (rows[row] == pixels).all()


@pytest.mark.parametrize("other", [{"size": 17}, {"background": "black"}, {"channels": 1}, {"channels": 4}])
def test_pixels_made_in_another_way_are_not_taken(place: Place, other: dict[str, Any]) -> None:
    """Another size, background or number of channels means decoding again, and the same as from nothing."""
    place.fill(3, mode="RGBA")
    place.ingest(channels=3)
    ingested = place.ingest(**{"channels": 3, **other})
    assert ingested.reused == 0
    contents = place.contents()
    place.store.unlink()
    place.ingest(**{"channels": 3, **other})
    assert place.contents() == contents


@pytest.mark.parametrize("other", [{"max_pixels": 599}, {"max_bytes": 500}])
def test_lower_limits_hold_for_what_is_known(place: Place, other: dict[str, Any]) -> None:
    """An image that is too large by the limits of today is refused, though an earlier store has it."""
    place.fill(3)
    place.ingest(channels=3)
    ingested = place.ingest(channels=3, **other)
    assert [seen.kind for seen in ingested.images] == ["too large"] * 3


def test_damaged_row_is_decoded_again(place: Place) -> None:
    """Damage to the earlier store doesn't spread to the next one."""
    place.fill(4)
    place.ingest(channels=3)
    contents = place.contents()
    damaged = bytearray(contents[0])
    damaged[128 + 2 * SIZE * SIZE * 3 + 5] ^= 1
    place.store.write_bytes(damaged)
    assert place.ingest(channels=3).reused == 3
    assert place.contents() == contents


@pytest.mark.parametrize("what", ["store", "index", "both", "cut", "garbled"])
def test_earlier_store_that_is_none(place: Place, what: str) -> None:
    """An earlier store that lost a part is worth nothing, and stops nobody."""
    place.fill(4)
    place.ingest()
    contents = place.contents()
    if what in {"store", "both"}:
        place.store.unlink()
    if what in {"index", "both"}:
        index_of(place.store).unlink()
    if what == "cut":
        os.truncate(place.store, 1000)
    if what == "garbled":
        index_of(place.store).write_text("garbled\n")
    assert place.ingest().reused == 0
    assert place.contents() == contents


def test_store_that_nobody_moved_away_is_taken_over(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """When what comes after reading stops with an error, the next run reads nothing again."""
    place.fill(5)
    first = ingest(place.images, place.names, data(channels=3), place.store, place.work)
    forbid_decoding(monkeypatch)
    again = place.ingest(channels=3)
    assert again.reused == 5
    assert again.images == first.images


def test_earlier_store_is_untouched_until_the_next_is_moved(place: Place) -> None:
    """A run that ends before its store is in place leaves the old one as it was."""
    place.fill(3)
    place.ingest()
    contents = place.contents()
    place.fill(3, start=3)
    ingest(place.images, place.names, data(), place.store, place.work)
    assert place.contents() == contents


# ---- killed


def undisturbed(place: Place) -> tuple[bytes, bytes]:
    """Return the store and index of a run that nothing happened to."""
    other = Place(place.images.parent.parent / "other")
    shutil.rmtree(other.images)
    shutil.copytree(place.images, other.images)
    other.ingest()
    return other.contents()


@pytest.fixture
def twenty(place: Place) -> Place:
    """Twenty files: colour, 16-bit grey, one that is no image."""
    place.fill(16)
    for at in range(3):
        Image.new("I;16", (20, 20), at * 100).save(place.images / f"deep{at}.png")
    (place.images / "bad.png").write_text("no image")
    return place


def run(script: str, *given: object) -> subprocess.Popen[str]:
    """Start a script in a process of its own."""
    command = [sys.executable, "-c", script, *map(str, given)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def kill(place: Place, moment: tuple[str, str, int, str]) -> None:
    """Ingest in a process that is killed at a moment."""
    with run(KILLED, place.images, place.store, place.work, *moment) as process:
        assert process.wait(60) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("moment", "least"),
    [
        (("os", "posix_fallocate", 1, ""), 0),  # the pixels are there, the index is not
        (("writer", "_append", 1, ""), 0),  # the index is empty
        (("writer", "put", 1, ""), 0),
        (("os", "pwrite", 7, "row"), 0),
        (("writer", "put", 12, ""), 4),
        (("writer", "_append", 3, "index"), 4),
        (("run", "_scale", 1, ""), 16),
        (("writer", "close", 1, ""), 16),
        (("path", "replace", 1, ""), 16),  # the index is sorted, and not in its place yet
        (("path", "unlink", 1, ""), 16),
    ],
)
def test_killed_ingest_is_resumed(twenty: Place, moment: tuple[str, str, int, str], least: int) -> None:
    """After a kill -9 at any moment the same command ends with the same store, and doesn't start from nothing."""
    kill(twenty, moment)
    ingested = twenty.ingest()
    assert least <= ingested.reused <= 16
    assert twenty.contents() == undisturbed(twenty)
    assert sum(not seen.problem for seen in ingested.images) == 19


@pytest.mark.parametrize(
    "moments",
    [
        [("writer", "put", 14, ""), ("os", "posix_fallocate", 1, "")],
        [("writer", "put", 14, ""), ("writer", "put", 2, ""), ("path", "replace", 1, "")],
        [("run", "_scale", 1, ""), ("writer", "_append", 1, ""), ("writer", "put", 1, "")],
    ],
)
def test_ingest_that_is_killed_again_and_again(twenty: Place, moments: list[Any]) -> None:
    """A second kill, early in the resumed run, loses nothing of what the first one left."""
    for moment in moments:
        kill(twenty, moment)
    ingested = twenty.ingest()
    assert ingested.reused >= 4
    assert twenty.contents() == undisturbed(twenty)


def test_ingest_killed_while_a_store_is_moved(twenty: Place) -> None:
    """Between its two files, a store that is moved is none; that costs time, and nothing else."""
    kill(twenty, ("writer", "put", 14, ""))
    kill(twenty, ("path", "replace", 2, ""))
    twenty.ingest()
    assert twenty.contents() == undisturbed(twenty)


@pytest.mark.parametrize("enough", [4, 12])
def test_ingest_killed_from_outside(twenty: Place, enough: int) -> None:
    """What was shown as done when a run was killed is not done again."""
    with run(WAITING, twenty.images, twenty.store, twenty.work, enough) as process:
        assert process.stdout is not None
        done = int(process.stdout.readline())
        process.kill()
    ingested = twenty.ingest()
    assert ingested.reused >= min(done, 16)
    assert twenty.contents() == undisturbed(twenty)


def test_killed_ingest_of_other_settings(twenty: Place) -> None:
    """What a killed run of another size left is of no use, and in nobody's way."""
    kill(twenty, ("writer", "put", 14, ""))
    ingested = twenty.ingest(size=32)
    assert ingested.reused == 0
    assert twenty.opened(ingested).shape[1:] == (32, 32, 3)
    assert list(twenty.work.iterdir()) == []


def test_facts_of_a_reused_file(place: Place) -> None:
    """What is known of a file survives being read from the index."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGBA", (30, 20), (255, 0, 0, 100)).save(place.images / "1.webp", exif=exif, lossless=True)
    first = place.ingest(channels=3)
    again = place.ingest(channels=3)
    assert again.reused == 1
    assert again.images == first.images
    seen = again.images[0]
    assert seen == ImageFacts(20, 30, "RGBA", "WEBP", False, (place.images / "1.webp").stat().st_size, seen.sha256)
