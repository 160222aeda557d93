"""Writes a new store, row by row, from several threads; see ``tasks.data.store`` for what a store is."""

import json
import os
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tasks.arrays import Pixels
from tasks.data.image_facts import ImageFacts
from tasks.data.store import DecodeSettings, Entry, index_of
from tasks.files import atomic_path, naming_what_the_disk_refuses, write_at


class Writer:
    """Writes rows from several threads; what is in the index is whole in the pixels.

    Rows go to the file by ``pwrite``, not through mapped memory, so that a store larger than memory is written with
    little of it, and a disk that fills up is an error, not a crash.
    """

    def __init__(self, pixels: Path, rows: int, settings: DecodeSettings) -> None:
        """Take the whole space that ``rows`` need.

        Raises:
            OSError: there is no space for it.
        """
        self._row_bytes = settings.size * settings.size * settings.channels
        shape = (rows, settings.size, settings.size, settings.channels)
        self._start = int(np.lib.format.open_memmap(pixels, mode="w+", dtype=np.uint8, shape=shape).offset)
        self._file = os.open(pixels, os.O_RDWR)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._file, 0, pixels.stat().st_size)
        self._index = index_of(pixels).open("w", encoding="utf-8")
        self._lock = threading.Lock()
        self._append([json.dumps(asdict(settings))])

    def put(self, row: int, pixels: Pixels, image: ImageFacts) -> Entry:
        """Write a row; it is not in the index yet."""
        content = np.ascontiguousarray(pixels).data.cast("B")
        write_at(self._file, content, self._start + row * self._row_bytes)
        return Entry(row, zlib.crc32(content), image)

    def record(self, entries: Iterable[Entry]) -> None:
        """Add rows that were written to the index."""
        self._append([json.dumps({**vars(entry), "image": vars(entry.image)}) for entry in entries])

    def close(self) -> None:
        """Let go of the files; whether all of it reached the disk is checked when a store is opened."""
        os.close(self._file)
        self._index.close()

    def _append(self, lines: list[str]) -> None:
        with self._lock:
            self._index.write("".join(f"{line}\n" for line in lines))
            self._index.flush()


@contextmanager
def writing(pixels: Path, rows: int, settings: DecodeSettings) -> Iterator[Writer]:
    """Yield a writer of a new store, and its index sorted at the end.

    Raises:
        UserError: the disk is full, here or in the block.
    """
    with naming_what_the_disk_refuses(pixels), closing(Writer(pixels, rows, settings)) as writer:
        yield writer
    head, *lines = index_of(pixels).read_text(encoding="utf-8").splitlines()
    lines.sort(key=lambda line: int(json.loads(line)["row"]))
    with atomic_path(index_of(pixels)) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in [head, *lines]), encoding="utf-8")
