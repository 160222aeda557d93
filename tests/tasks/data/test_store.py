"""The store: what was written is what is read, or the store is refused in one sentence."""

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.data import store as stores
from tasks.data.image_facts import ImageFacts
from tasks.data.ingest import ingest
from tasks.data.store import DecodeSettings, EarlierStore, index_of, move, open_store
from tasks.data.store_writer import Writer, writing
from tasks.errors import UserError
from tasks.params import DataParams
from tests.support.paths import ROOT

MADE = DecodeSettings(size=16, channels=3, background="white")
ROWS = 5
AGAIN = "run 'dvc repro --force prepare' to make it again"
OVER_THE_LIMIT = """
import resource, sys
from pathlib import Path
from tasks.data.ingest import ingest
from tasks.errors import UserError
from tasks.params import DataParams

images, earlier, work, size, limit = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
names = sorted(path.name for path in Path(images).iterdir())
try:
    ingest(Path(images), names, DataParams(source="folder", path="images", size=int(size)), Path(earlier), Path(work))
except UserError as error:
    print(error)
    sys.exit(2)
"""


def pictures(rows: int, seed: int = 0) -> Any:
    """Return random pixels."""
    return np.random.default_rng(seed).integers(0, 256, (rows, 16, 16, 3), dtype=np.uint8)


def digest(row: int) -> str:
    """Return something like a digest."""
    return f"{row:064x}"


def write(target: Path, rows: Any, used: list[int] | None = None) -> dict[int, str]:
    """Write a store in which the rows ``used``, or all, hold an image; return their digests."""
    with writing(target, len(rows), MADE) as writer:
        for row in range(len(rows)) if used is None else used:
            writer.record([writer.put(row, rows[row], ImageFacts(30, 20, "RGB", "PNG", sha256=digest(row)))])
    return {row: digest(row) for row in (range(len(rows)) if used is None else used)}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A whole store of five rows."""
    write(tmp_path / "pixels.npy", pictures(ROWS))
    return tmp_path / "pixels.npy"


ALL = {row: digest(row) for row in range(ROWS)}


def refusal(store: Path, digests: Mapping[int, str] = ALL) -> str:
    """Return the sentence by which a store is refused."""
    with pytest.raises(UserError) as caught:
        open_store(store, digests)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert str(store.with_suffix("")) in sentence
    assert "run 'dvc repro" in sentence
    return sentence


def flip(file: Path, at: int, bits: int = 1) -> None:
    """Change one byte of a file."""
    with file.open("r+b") as stream:
        stream.seek(at)
        (byte,) = stream.read(1)
        stream.seek(at)
        stream.write(bytes([byte ^ bits]))


# ---- whole stores


@settings(max_examples=25, deadline=None)
@given(st.permutations(list(range(7))), st.integers(0, 7), st.integers(0, 2**32 - 1))
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, order: Any, count: int, seed: int
) -> None:
    """Whichever rows were written, and in whatever order, they hold the pixels that they were given."""
    target = tmp_path_factory.mktemp("store") / "pixels.npy"
    rows, used = pictures(7, seed), order[:count]
    digests = write(target, rows, used)
    opened = open_store(target, digests)
    assert opened.shape == rows.shape
    assert opened.dtype == np.uint8
    assert all((opened[row] == rows[row]).all() for row in used)
    assert all(not opened[row].any() for row in set(range(7)) - set(used))
    lines = [json.loads(line) for line in index_of(target).read_text().splitlines()]
    assert [line["row"] for line in lines[1:]] == sorted(used)
    earlier = EarlierStore(target, MADE)
    assert len(earlier) == len(used)
    for row in used:
        image, pixels = earlier.get(digest(row)) or pytest.fail("is not there")
        assert image == ImageFacts(30, 20, "RGB", "PNG", sha256=digest(row))
        assert (pixels == rows[row]).all()
    assert earlier.taken == len(used)


def test_store_without_rows(tmp_path: Path) -> None:
    """No image at all makes a store of none."""
    write(tmp_path / "pixels.npy", pictures(0))
    assert open_store(tmp_path / "pixels.npy", {}).shape == (0, 16, 16, 3)


def test_store_is_read_only(store: Path) -> None:
    """Training can't write into the images."""
    with pytest.raises(ValueError, match="read-only"):
        open_store(store, ALL)[0] = 0


def test_store_is_plain_numpy(store: Path) -> None:
    """Anybody can read the pixels without this project."""
    assert (np.load(store) == pictures(ROWS)).all()


def test_moved_store_is_the_same(store: Path, tmp_path: Path) -> None:
    """Moving takes both files, makes the folder, and replaces what was there."""
    target = tmp_path / "a" / "b" / "pixels.npy"
    for _ in range(2):
        move(store, target)
        assert not store.exists()
        assert not index_of(store).exists()
        assert (open_store(target, ALL) == pictures(ROWS)).all()
        write(store, pictures(ROWS))


def test_space_is_taken_before_anything_is_written(tmp_path: Path) -> None:
    """A store with holes would meet a disk that fills up meanwhile, so there are none."""
    with writing(tmp_path / "pixels.npy", 100, MADE):
        held = (tmp_path / "pixels.npy").stat()
        assert held.st_blocks * 512 >= held.st_size > 100 * 16 * 16 * 3


def test_threads_leave_no_trace(tmp_path: Path) -> None:
    """Rows that come in any order from any thread make the same two files."""
    rows = pictures(40)
    write(tmp_path / "one.npy", rows)
    for turn in range(3):
        places = list(range(40))
        random.Random(turn).shuffle(places)  # noqa: S311 - no secret
        with writing(tmp_path / "many.npy", 40, MADE) as writer:

            def some(part: list[int], writer: Writer = writer) -> None:
                for row in part:
                    image = ImageFacts(30, 20, "RGB", "PNG", sha256=digest(row))
                    writer.record([writer.put(row, rows[row], image)])

            threads = [threading.Thread(target=some, args=(places[at::8],)) for at in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        for suffix in (".npy", ".jsonl"):
            one, many = (tmp_path / f"{name}{suffix}" for name in ("one", "many"))
            assert one.read_bytes() == many.read_bytes()


# ---- damaged stores


@pytest.mark.parametrize("row", range(ROWS))
@pytest.mark.parametrize("place", [0, 300, 16 * 16 * 3 - 1])
def test_flipped_byte_is_found(store: Path, row: int, place: int) -> None:
    """One bit of one pixel is enough."""
    flip(store, 128 + row * 16 * 16 * 3 + place)
    assert refusal(store) == f"{store} was changed or damaged, its pixels are not those that were written: {AGAIN}"


def test_rows_that_are_not_named_are_not_looked_at(store: Path) -> None:
    """Damage to a row that no image of the manifest uses is no reason to stop."""
    flip(store, 128 + 3 * 16 * 16 * 3)
    named = {row: digest(row) for row in (0, 1, 2, 4)}
    assert (open_store(store, named)[[0, 1, 2, 4]] == pictures(ROWS)[[0, 1, 2, 4]]).all()
    assert "changed or damaged" in refusal(store, {3: digest(3)})


def test_exchanged_rows_are_found(store: Path) -> None:
    """Right pixels at the wrong place would be images with the wrong labels."""
    content = np.load(store)
    np.save(store, content[[1, 0, 2, 3, 4]])
    assert "changed or damaged" in refusal(store)


@pytest.mark.parametrize("at", range(0, 128, 3))
def test_flipped_byte_of_the_header(store: Path, at: int) -> None:
    """Damage to what says how to read the pixels is refused, too, unless it changes nothing."""
    for bits in (1, 2, 4, 64):
        flip(store, at, bits)
        try:
            opened = open_store(store, ALL)
        except UserError as error:
            assert AGAIN in str(error)  # noqa: PT017 - the other outcome is right, too
        else:
            assert opened.shape == (ROWS, 16, 16, 3)
            assert (opened == pictures(ROWS)).all()
        flip(store, at, bits)


def test_header_that_claims_another_order(store: Path) -> None:
    """The same bytes read in another order are other pictures."""
    content = store.read_bytes()
    store.write_bytes(content.replace(b"'fortran_order': False", b"'fortran_order': True "))
    assert "cut short or does not belong" in refusal(store)


@pytest.mark.parametrize("rows", [ROWS - 1, ROWS - 4])
def test_header_that_claims_fewer_rows(store: Path, rows: int) -> None:
    """Rows that training would not find are missed at once, not in the middle of an epoch."""
    content = store.read_bytes()
    store.write_bytes(content.replace(f"'shape': ({ROWS},".encode(), f"'shape': ({rows},".encode()))
    assert "cut short or does not belong" in refusal(store)


@pytest.mark.parametrize("keep", [0, 1, 60, 128, 129, 2000, 128 + ROWS * 16 * 16 * 3 - 1])
def test_cut_store(store: Path, keep: int) -> None:
    """A store that a full disk or an interrupted copy cut short is refused; it doesn't kill the process later."""
    os.truncate(store, keep)
    assert refusal(store) == f"{store} is cut short or does not belong to {index_of(store)}: {AGAIN}"


@pytest.mark.parametrize("content", [b"", b"text", b"PK\3\4" + b"zip", b"\x80\4N.", b"\x93NUMPY\1\0\xff\xff"])
def test_store_of_something_else(store: Path, content: bytes) -> None:
    """Whatever lies in its place, it is named."""
    store.write_bytes(content)
    assert "cut short or does not belong" in refusal(store)


@pytest.mark.parametrize("which", [0, 1])
def test_missing_file(store: Path, which: int) -> None:
    """The file that is missing is named, and how to make it."""
    gone = [store, index_of(store)][which]
    gone.unlink()
    assert refusal(store) == f"{gone} does not exist: run 'dvc repro' to make it"


def rewritten(change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    """Return a function that changes the lines of an index."""

    def apply(store: Path) -> None:
        lines = index_of(store).read_text().splitlines()
        index_of(store).write_text("".join(f"{line}\n" for line in change(lines)))

    return apply


@pytest.mark.parametrize(
    "damage",
    [
        rewritten(lambda _: []),
        rewritten(lambda lines: ["text", *lines[1:]]),
        rewritten(lambda lines: ["[1, 2]", *lines[1:]]),
        rewritten(lambda lines: ["null", *lines[1:]]),
        rewritten(lambda lines: [json.dumps({**json.loads(lines[0]), "version": stores.VERSION + 1}), *lines[1:]]),
        rewritten(lambda lines: [json.dumps({**json.loads(lines[0]), "more": 2}), *lines[1:]]),
        rewritten(lambda lines: lines[1:]),
        rewritten(lambda lines: [lines[0], "{", *lines[2:]]),
        rewritten(lambda lines: [lines[0], "7", *lines[2:]]),
        rewritten(lambda lines: [lines[0], lines[1].replace('"crc32"', '"crc33"'), *lines[2:]]),
        rewritten(lambda lines: [lines[0], lines[1].replace('"width"', '"wide"'), *lines[2:]]),
        lambda store: index_of(store).write_bytes(b"\xff\xfe\0\1"),
    ],
)
def test_index_that_is_garbled_or_of_another_version(store: Path, damage: Callable[[Path], None]) -> None:
    """An index that can't be read, or that another version wrote, is refused; for an ingest it is an empty store."""
    damage(store)
    assert refusal(store) == f"{index_of(store)} is damaged or of another version: {AGAIN}"
    assert len(EarlierStore(store, MADE)) == 0


@pytest.mark.parametrize(
    ("digests", "damage"),
    [
        ({**ALL, 2: digest(9)}, lambda _: None),  # a file that changed
        ({0: digest(1), 1: digest(0)}, lambda _: None),  # the same files in another order
        ({**ALL, ROWS: digest(ROWS)}, lambda _: None),  # more files
        (ALL, rewritten(lambda lines: lines[:-1])),
        (ALL, rewritten(lambda lines: [line.replace(digest(4), digest(5)) for line in lines])),
        (ALL, rewritten(lambda lines: [line.replace('"row": 1', '"row": 8') for line in lines])),
        (ALL, rewritten(lambda lines: [line.replace('"row": 1', '"row": -1') for line in lines])),
        (ALL, rewritten(lambda lines: [line.replace('"row": 1', '"row": "1"') for line in lines])),
    ],
)
def test_index_of_other_files(store: Path, digests: dict[int, str], damage: Callable[[Path], None]) -> None:
    """Pixels of other files than those that the manifest names are never trained on."""
    damage(store)
    assert refusal(store, digests) == f"{store} was made from other files than those of the manifest: {AGAIN}"


@pytest.mark.parametrize(("name", "value"), [("size", 17), ("size", "16"), ("channels", 1), ("size", None)])
def test_index_of_another_shape(store: Path, name: str, value: Any) -> None:
    """An index beside pixels of another size is not taken for theirs."""
    rewritten(lambda lines: [json.dumps({**json.loads(lines[0]), name: value}), *lines[1:]])(store)
    assert "cut short or does not belong" in refusal(store)


def test_every_cut_of_the_index_is_safe(store: Path) -> None:
    """Wherever a writer was killed, what is left of the index names whole rows or nothing."""
    whole = index_of(store).read_bytes()
    starts = [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]
    for keep in range(0, len(whole), 7):
        index_of(store).write_bytes(whole[:keep])
        earlier = EarlierStore(store, MADE)
        assert len(earlier) == max(0, sum(start <= keep for start in starts) - 1)
        for row in range(len(earlier)):
            assert earlier.get(digest(row)) is not None


@pytest.mark.parametrize(
    "made",
    [
        DecodeSettings(17, 3, "white"),
        DecodeSettings(16, 1, "white"),
        DecodeSettings(16, 3, "red"),
        DecodeSettings(16, 3, "white", 9),
    ],
)
def test_store_made_in_another_way_has_nothing_for_an_ingest(store: Path, made: DecodeSettings) -> None:
    """Pixels of another size, background or version are not mixed in."""
    assert len(EarlierStore(store, made)) == 0
    assert EarlierStore(store, made).get(digest(0)) is None


def test_damaged_rows_are_not_taken_over(store: Path) -> None:
    """A damaged row of an earlier store is not handed on, its neighbours are."""
    flip(store, 128 + 2 * 16 * 16 * 3)
    earlier = EarlierStore(store, MADE)
    assert [row for row in range(ROWS) if earlier.get(digest(row)) is not None] == [0, 1, 3, 4]
    assert earlier.taken == 4
    assert earlier.get(digest(9)) is None


def test_pixels_are_checked_once_while_their_file_stays(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second look at a store of yesterday reads no row; one of other rows does, and one after a change."""
    reads: list[int] = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda file, count, at: reads.append(at) or real(file, count, at))

    def read_by_opening(digests: dict[int, str]) -> int:
        before = len(reads)
        open_store(store, digests)
        return len(reads) - before

    first = dict(list(ALL.items())[:2])
    assert [read_by_opening(first), read_by_opening(first)] == [2, 2], "the file was only just written"
    for file in (store, index_of(store)):
        os.utime(file, (0, 0))
    assert [read_by_opening(first), read_by_opening(first)] == [2, 0]
    assert [read_by_opening(ALL), read_by_opening(first), read_by_opening(ALL)] == [ROWS, 0, 0]
    flip(store, 128)
    os.utime(store, (1, 1))
    with pytest.raises(UserError, match="damaged"):
        open_store(store, ALL)


# ---- full disks


def over_the_limit(folder: Path, size: int, limit: int) -> str:
    """Ingest ``folder/images`` where no file may have more bytes than ``limit``; return the sentence about it."""
    done = subprocess.run(
        [sys.executable, "-c", OVER_THE_LIMIT, *(folder / name for name in ("images", "pixels.npy", "work")),
         str(size), str(limit)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(("deep", "limit"), [(False, 4096), (True, 20_000)])
def test_full_disk_is_named_and_the_old_store_kept(tmp_path: Path, deep: bool, limit: int) -> None:
    """No room is a sentence for the user; the old store is unharmed, and with room the same command works."""
    (tmp_path / "images").mkdir()
    names = [f"{at}.png" for at in range(4)]
    for at, name in enumerate(names):
        Image.new("I;16" if deep else "L", (70, 70), at + 1).save(tmp_path / "images" / name)
    write(tmp_path / "pixels.npy", pictures(ROWS))
    said = over_the_limit(tmp_path, 64, limit)
    growing = tmp_path / "work" / "growing.npy"
    assert said == (
        f"no space left while writing {growing}: free some disk space and run the same command again; "
        "finished work was kept"
    )
    assert (open_store(tmp_path / "pixels.npy", ALL) == pictures(ROWS)).all()
    params = DataParams(source="folder", path="images", size=64)
    ingested = ingest(tmp_path / "images", names, params, tmp_path / "pixels.npy", tmp_path / "work")
    assert [image.problem for image in ingested.images] == [""] * 4
    assert np.load(ingested.store)[:, 0, 0, 0].tolist() == ([0, 85, 170, 255] if deep else [1, 2, 3, 4])


def test_other_errors_of_the_system_are_not_called_a_full_disk(tmp_path: Path) -> None:
    """A place where nothing can be written is not a matter of space."""
    with pytest.raises(FileNotFoundError), writing(tmp_path / "none" / "pixels.npy", 1, MADE):
        pass


def test_writes_that_the_system_cuts_short_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that writes less than it was given, as it may, leaves no hole in a picture."""
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, content, at: real(file, content[: max(1, len(content) // 2)], at))
    rows = pictures(ROWS)
    write(tmp_path / "pixels.npy", rows)
    assert (open_store(tmp_path / "pixels.npy", ALL) == rows).all()
