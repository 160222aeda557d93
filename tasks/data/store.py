"""The store: images decoded once, at the working size, in one memory-mapped file that every run shares.

A store is two files: the pixels, a NumPy array of uint8 with shape (rows, size, size, channels), and beside it an index
of JSON lines: what the pixels were made by, then for every row that is in use the facts of its file and the CRC-32 of
its pixels. Rows are written in place and the index appended, so that a writer that was killed leaves a store whose
finished rows the next one takes over.
"""

import json
import mmap
import os
import time
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.arrays import Integers, Pixels
from tasks.data.decoding import is_deep_mode
from tasks.data.image_facts import ImageFacts
from tasks.errors import UserError

VERSION = 2  # of what decoding makes of a file
INDEX_SUFFIX = ".jsonl"
ROWS_A_BLOCK = 128
SECONDS_TO_SETTLE = 2.0  # after which a file that is written again has another time, on any file system
Mapped = np.memmap[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class DecodeSettings:
    """What decides the pixels of a file, besides the file."""

    size: int
    channels: int
    background: str
    version: int = VERSION


@dataclass(frozen=True)
class Entry:
    """A row in use: the facts of its file, and the CRC-32 of its pixels."""

    row: int
    crc32: int
    image: ImageFacts


def index_of(pixels: Path) -> Path:
    """Return the index that belongs to a file of pixels."""
    return pixels.with_suffix(INDEX_SUFFIX)


class EarlierStore:
    """The finished rows of an earlier store, whole or not, by the digest of the files they were made from.

    Rows that depended on other files, too, are not among them: grey beyond 8 bits.
    """

    def __init__(self, pixels: Path, made: DecodeSettings) -> None:
        """Read the index; a store that is missing, or was made in another way, is as good as empty."""
        index = _read_index(pixels)
        store = _mapped(pixels, made) if index and index[0] == made else None
        entries = index[1] if index and store is not None else []
        self._entries = {entry.image.sha256: entry for entry in entries if not is_deep_mode(entry.image.mode)}
        self._rows = None if store is None else _Rows(store)
        self._taken: list[int] = []

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def taken(self) -> int:
        """Number of images that were taken from here."""
        return len(self._taken)

    def get(self, sha256: str) -> tuple[ImageFacts, Pixels] | None:
        """Return the facts and pixels that a file with this digest had, if they are there and undamaged."""
        entry = self._entries.get(sha256)
        if entry is None or self._rows is None:
            return None
        pixels = self._rows.read(entry)
        if pixels is None:
            return None
        self._taken.append(entry.row)
        return entry.image, pixels


def move(store: Path, target: Path) -> None:
    """Put a store in another place; a store that lost its index on the way is none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    index_of(target).unlink(missing_ok=True)
    store.replace(target)
    index_of(store).replace(index_of(target))


def open_store(pixels: Path, digests: Mapping[int, str]) -> Pixels:
    """Map a store into memory, read-only, after checking that its rows are what was written.

    A process checks the pixels of a store once, unless its files change.

    Args:
        pixels: the store.
        digests: SHA-256 of the file that each row was made from; other rows are not looked at.

    Raises:
        UserError: a part of the store is missing, of another version, cut short, or has other pixels than it had.
    """
    again = "run 'dvc repro --force prepare' to make it again"
    for file in (pixels, index_of(pixels)):
        if not file.is_file():
            raise UserError(f"{file} does not exist: run 'dvc repro' to make it")
    state = _state_of(pixels)
    index = _read_index(pixels)
    if index is None:
        raise UserError(f"{index_of(pixels)} is damaged or of another version: {again}")
    made, entries = index
    store = _mapped(pixels, made)
    if store is None:
        raise UserError(f"{pixels} is cut short or does not belong to {index_of(pixels)}: {again}")
    named = {entry.row: entry for entry in entries}
    if any(row not in named or named[row].image.sha256 != digest for row, digest in digests.items()):
        raise UserError(f"{pixels} was made from other files than those of the manifest: {again}")
    asked = np.array(sorted(digests), dtype=np.int64)
    checked = _checked.get(state) if state else None
    if checked is not None and np.isin(asked, checked).all():
        return store
    if not _are_undamaged(store, [named[int(row)] for row in asked]):
        raise UserError(f"{pixels} was changed or damaged, its pixels are not those that were written: {again}")
    if state:
        _checked.clear()
        _checked[state] = asked
    return store


def unmap(pixels: Pixels) -> None:
    """Unmap what was read of a mapped store: it stays in the kernel's cache, but takes no memory of this process."""
    mapped: object = getattr(pixels, "base", None)
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


_checked: dict[tuple[int, ...], Integers] = {}  # the rows that are whole, by the state of the files


def _state_of(pixels: Path) -> tuple[int, ...] | None:
    """Return what changes with a store's files; None where they are so new that a further change might not show."""
    facts = [file.stat() for file in (pixels, index_of(pixels))]
    if time.time() - max(fact.st_mtime for fact in facts) < SECONDS_TO_SETTLE:
        return None
    return tuple(number for fact in facts for number in (fact.st_dev, fact.st_ino, fact.st_size, fact.st_mtime_ns))


def _are_undamaged(store: Mapped, entries: list[Entry]) -> bool:
    rows = _Rows(store)
    blocks = [entries[at : at + ROWS_A_BLOCK] for at in range(0, len(entries), ROWS_A_BLOCK)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return all(pool.map(lambda block: all(rows.read(entry) is not None for entry in block), blocks))


class _Rows:
    """Reads rows of a store by their place in the file, which takes no mapped memory."""

    def __init__(self, store: Mapped) -> None:
        self._shape = store.shape[1:]
        self._row_bytes = int(np.prod(self._shape))
        self._start = store.offset
        self._file = Path(str(store.filename)).open("rb")  # noqa: SIM115 - as long as this object

    def read(self, entry: Entry) -> Pixels | None:
        """Return a row, or nothing if it is not what was written."""
        content = os.pread(self._file.fileno(), self._row_bytes, self._start + entry.row * self._row_bytes)
        if len(content) < self._row_bytes or zlib.crc32(content) != entry.crc32:
            return None
        return np.frombuffer(content, dtype=np.uint8).reshape(self._shape)


def _mapped(pixels: Path, made: DecodeSettings) -> Mapped | None:
    """Return a store's pixels; nothing where they are missing, cut short, or not of the shape that they should have."""
    try:
        store = np.load(pixels, mmap_mode="r")
    except Exception:  # whatever a damaged header makes NumPy's parsers raise
        return None
    if not isinstance(store, np.memmap) or store.dtype != np.uint8 or not store.flags.c_contiguous:
        return None
    is_complete = store.offset + store.nbytes == pixels.stat().st_size
    return store if is_complete and store.shape[1:] == (made.size, made.size, made.channels) else None


def _read_index(pixels: Path) -> tuple[DecodeSettings, list[Entry]] | None:
    """Return what is in an index up to the line at which its writer was killed; nothing where it has no beginning."""
    try:
        lines = index_of(pixels).read_text(encoding="utf-8").split("\n")
        made = DecodeSettings(**json.loads(lines[0]))
    except (OSError, ValueError, TypeError):
        return None
    if made.version != VERSION:
        return None
    entries = []
    for line in lines[1:-1]:
        try:
            entry: dict[str, Any] = json.loads(line)
            entries.append(Entry(entry["row"], entry["crc32"], ImageFacts(**entry["image"])))
        except (ValueError, TypeError, KeyError):
            return None
    return made, entries
