"""What frozen layers answer for every image, computed once and kept on the disk for all epochs, strategies and runs.

A store is one file of records of the same length, one for every row of the pixels; those that were never written are
holes, which take no space. A record is an activation's bytes and, at its end, a mark that says that they are there and
their CRC-32. A file's name is a digest of all that its content depends on.
"""

import math
import os
import shutil
import zlib
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from tasks.files import is_full_disk, write_at
from tasks.training.batches import Rows

VERSION = 1  # of the file's form
SUFFIX = ".activations"
WORD = 8  # bytes of a record's mark; records are multiples of it
WRITTEN = 1 << 32  # in the mark, above the CRC
KEPT_FREE = 1 << 30  # bytes of the disk that a store never takes
ROWS_A_BLOCK = 64


class DamagedError(Exception):
    """What is read is not what was written."""


class NoSpaceError(Exception):
    """The disk, or the size that stores may have, is too small for what shall be kept."""


@dataclass(frozen=True)
class Form:
    """An image's activation: its shape without the batch, and its type."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of an activation."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Cache:
    """The folder that stores lie in.

    Attributes:
        limit: bytes that they may take together; the least recently used go first.
        data: digest of the pixels that the activations are of, and of the code that computes them.
    """

    folder: Path
    limit: int
    data: str

    @contextmanager
    def filling(self, key: str, images: int, form: Form) -> Iterator["Store"]:
        """Yield a store that no other process fills as long as the block runs.

        Args:
            key: digest of all that its content depends on.
            images: number of rows of the pixels.
            form: of an image's activation.

        Raises:
            NoSpaceError: in the block the disk became full; the store is removed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(key)
        with FileLock(path.with_suffix(".lock")):
            try:
                yield Store(path, images, form)
            except OSError as error:
                if not is_full_disk(error):
                    raise
                path.unlink(missing_ok=True)
                raise NoSpaceError("the disk is full") from error

    def path(self, key: str) -> Path:
        """Return where a store lies."""
        return self.folder / f"{key}{SUFFIX}"

    def make_room(self, needed: int, keep: Collection[Path]) -> None:
        """Remove stores that were not used for the longest time, but for some, until ``needed`` more bytes fit in.

        Raises:
            NoSpaceError: they don't fit in at all; nothing was removed for it.
        """
        others = sorted((p for p in self.folder.glob(f"*{SUFFIX}") if p not in keep), key=_used_at)
        sizes = [_on_disk(path) for path in others]
        total = sum(map(_on_disk, keep)) + needed
        if total > self.limit:
            raise NoSpaceError(f"they need {total / 2**30:.1f} GiB, more than the {self.limit / 2**30:.1f} allowed")
        free = shutil.disk_usage(self.folder).free - KEPT_FREE
        if needed > free + sum(sizes):
            raise NoSpaceError(f"they need {needed / 2**30:.1f} GiB of a disk with {max(free, 0) / 2**30:.1f} to spare")
        for place, path in enumerate(others):
            if total + sum(sizes[place:]) <= self.limit and needed <= free + sum(sizes[:place]):
                break
            path.unlink(missing_ok=True)


class Store:
    """Activations by the rows of the images that they are of."""

    def __init__(self, path: Path, images: int, form: Form) -> None:
        """Open a store, or make an empty one; a file of another length is none."""
        self.path, self._form = path, form
        self._payload = -(-form.nbytes // WORD) * WORD
        self.record = self._payload + WORD
        self._stream = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0)
        self._file = self._stream.fileno()
        if os.fstat(self._file).st_size != images * self.record:
            self._stream.truncate(0)
        self._stream.truncate(images * self.record)
        os.utime(self._file)

    def missing(self, rows: Rows) -> Rows:
        """Return the rows whose activation is not there, or is not what was written."""
        blocks = np.array_split(rows, max(1, math.ceil(len(rows) / ROWS_A_BLOCK)))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            written = list(pool.map(lambda block: [self._is_written(int(row)) for row in block], blocks))
        missing: Rows = rows[~np.array([answer for block in written for answer in block], dtype=bool)]
        return missing

    def put(self, rows: Rows, activations: Tensor) -> None:
        """Write activations, the first dimension of which are the rows."""
        for row, content in zip(rows, _as_bytes(activations), strict=True):
            padded = content.tobytes().ljust(self._payload, b"\0")
            write_at(self._file, padded + _mark(padded), int(row) * self.record)

    def take(self, rows: Rows) -> Tensor:
        """Return the activations of rows that are there; maps lie in channels-last memory format.

        Raises:
            DamagedError: one of them is not.
        """
        records = np.zeros((len(rows), self.record), dtype=np.uint8)
        for place, row in enumerate(rows):
            os.preadv(self._file, [records[place].data], int(row) * self.record)
            if not self._is_record(records[place].tobytes()):
                raise DamagedError(f"{self.path} has no activation of row {row}")
        values = torch.from_numpy(records)[:, : self._form.nbytes].contiguous().view(self._form.dtype)
        return _from_channels_last(values, self._form.shape)

    def _is_written(self, row: int) -> bool:
        return self._is_record(os.pread(self._file, self.record, row * self.record))

    def _is_record(self, content: bytes) -> bool:
        return content[self._payload :] == _mark(content[: self._payload])


def _mark(payload: bytes) -> bytes:
    return (WRITTEN | zlib.crc32(payload)).to_bytes(WORD, "little")


def _as_bytes(activations: Tensor) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Return the bytes of each image's activation; maps with their channels last."""
    last = activations.permute(0, 2, 3, 1) if activations.dim() == 4 else activations
    flat = last.detach().cpu().contiguous().reshape(len(activations), -1)
    content: np.ndarray[tuple[int, int], np.dtype[np.uint8]] = flat.view(torch.uint8).numpy()
    return content


def _from_channels_last(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    if len(shape) != 3:
        return values.reshape(len(values), *shape)
    channels, height, width = shape
    return values.reshape(len(values), height, width, channels).permute(0, 3, 1, 2)


def _used_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process made room, too
        return 0.0


def _on_disk(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0
