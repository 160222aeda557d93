"""From files to a store: every file opened once, in threads; what an earlier store has already is not decoded again.

Grey beyond 8 bits is kept as floating point until every file was seen, and then becomes 8 bits by the range of the
whole set.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tasks import stopping
from tasks.arrays import Pixels, Plane, Thumbnails
from tasks.data.decoding import DeepGrey, to_8_bits
from tasks.data.fingerprints import SIDE, thumbnail
from tasks.data.grey_ranges import Asked, Extent, notes_on_range, range_of
from tasks.data.image_facts import ImageFacts
from tasks.data.reading import is_grey, read
from tasks.data.store import ROWS_A_BLOCK, DecodeSettings, EarlierStore, Entry, index_of, move
from tasks.data.store_writer import Writer, writing
from tasks.files import write_at
from tasks.params import DataParams
from tasks.progress import counting, during

Progress = Callable[[int], None]
Ranges = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Ingested:
    """What was seen of every file, row for row with the store.

    Attributes:
        store: where the pixels are, until ``store.move`` puts them in place.
        images: facts, or the reason why a file can't be used.
        thumbnails: of the usable images, uint8 of shape (files, 32, 32); what ``tasks.data.fingerprints`` compares.
        ranges: values of grey beyond 8 bits that became black and white: ``integer``, ``float``; none where each image
            has its own.
        reused: number of images that an earlier store had.
        notes: what a person should know of the ranges.
    """

    store: Path
    images: list[ImageFacts]
    thumbnails: Thumbnails
    ranges: Ranges
    reused: int
    notes: list[str] = field(default_factory=list)


def resolve_channels(root: Path, paths: Sequence[str], params: DataParams, links_to: Sequence[Path] = ()) -> int:
    """Return what params ask for, or, for ``auto``, 1 where every image is grey, else 3."""
    if params.channels != "auto":
        return params.channels
    any_grey = False
    for path in paths:
        grey = is_grey(root, path, params, links_to)
        if grey is False and not read(root, path, params, channels=3, links_to=links_to)[0].problem:
            return 3
        any_grey |= bool(grey)
    return 1 if any_grey else 3


def ingest(
    root: Path,
    paths: Sequence[str],
    params: DataParams,
    earlier: Path,
    work: Path,
    progress: Progress = lambda _: None,
    links_to: Sequence[Path] = (),
) -> Ingested:
    """Fill a store with every usable file; row ``i`` is the file ``paths[i]``, and rows of unusable files are unused.

    What an interrupted run, or one that nobody moved away, left in ``work`` is taken over.

    Args:
        root: the folder that the paths are relative to.
        paths: the files.
        params: working size, in pixels, channels and limits.
        earlier: a store that may have some of it already.
        work: where the store grows.
        progress: called with the number of files that were done since the last call.
        links_to: folders elsewhere that links may lead to.

    Raises:
        UserError: the disk is full.
    """
    with during("are all images grey?"):
        channels = resolve_channels(root, paths, params, links_to)
    settings = DecodeSettings(params.side, channels, params.background)
    interrupted, growing = work / "left.npy", work / "growing.npy"
    work.mkdir(parents=True, exist_ok=True)
    is_store = growing.is_file() and index_of(growing).is_file()
    if is_store and len(EarlierStore(growing, settings)) >= len(EarlierStore(interrupted, settings)):
        move(growing, interrupted)
    earlier_stores = [EarlierStore(interrupted, settings), EarlierStore(earlier, settings)]
    with writing(growing, len(paths), settings) as writer:
        run = _Ingestion(root, paths, params, settings, writer, earlier_stores, work, progress, links_to)
        images, thumbnails, used = run.run()
    for file in (interrupted, index_of(interrupted)):
        file.unlink(missing_ok=True)
    return Ingested(growing, images, thumbnails, used, sum(store.taken for store in earlier_stores), run.notes(used))


class _Ingestion:
    """One run over all files."""

    def __init__(
        self, root: Path, paths: Sequence[str], params: DataParams, settings: DecodeSettings, writer: Writer,
        earlier_stores: Sequence[EarlierStore], work: Path, progress: Progress, links_to: Sequence[Path],
    ) -> None:  # fmt: skip
        self._root, self._paths, self._params, self._settings = root, paths, params, settings
        self._writer, self._earlier_stores, self._progress, self._links_to = writer, earlier_stores, progress, links_to
        self._images = [ImageFacts()] * len(paths)
        self._thumbnails = np.zeros((len(paths), SIDE, SIDE), dtype=np.uint8)
        self._deep = _DeepPlanes(work, params.side)

    def run(self) -> tuple[list[ImageFacts], Thumbnails, Ranges]:
        """Read all blocks of files, then scale what had no known range."""
        starts = range(0, len(self._paths), ROWS_A_BLOCK)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for count in pool.map(self._block, starts):
                self._progress(count)
        used = self._scale()
        return self._images, self._thumbnails, used

    def _block(self, start: int) -> int:
        stopping.check()
        rows = range(start, min(start + ROWS_A_BLOCK, len(self._paths)))
        self._writer.record([entry for row in rows if (entry := self._file(row))])
        return len(rows)

    def _file(self, row: int) -> Entry | None:
        image, pixels = read(
            self._root, self._paths[row], self._params, self._settings.channels, self._earlier, self._links_to
        )
        self._images[row] = image
        if pixels is None:
            return None
        if isinstance(pixels, DeepGrey):
            self._deep.put(row, pixels)
            return None
        return self._put(row, image, pixels)

    def _put(self, row: int, image: ImageFacts, pixels: Pixels) -> Entry:
        self._thumbnails[row] = thumbnail(pixels)
        return self._writer.put(row, pixels, image)

    def _earlier(self, digest: str) -> tuple[ImageFacts, Pixels] | None:
        return next((known for store in self._earlier_stores if (known := store.get(digest))), None)

    def _scale(self) -> Ranges:
        """Bring grey beyond 8 bits to 8 bits, now that the range of the set is known; return the ranges."""
        used = self._deep.ranges(self._params.range)
        with counting("grey beyond 8 bits", len(self._deep.kinds)) as advance:
            for row, kind in self._deep.kinds.items():
                black, white = self._deep.extents[row].own_range if self._params.range == "image" else used[kind]
                pixels = to_8_bits(self._deep.get(row), black, white, self._settings.channels)
                self._writer.record([self._put(row, self._images[row], pixels)])
                advance(1)
        return {} if self._params.range == "image" else used

    def notes(self, used: Ranges) -> list[str]:
        """Return what a person should know of the ranges."""
        notes = []
        for kind in sorted(set(self._deep.kinds.values())):
            extents = {self._paths[row]: self._deep.extents[row] for row in sorted(self._deep.rows(kind))}
            notes += notes_on_range(extents, used.get(kind, (-np.inf, np.inf)), self._params.range)
        return notes


class _DeepPlanes:
    """Floating-point planes on the disk, and how far the values go of the images they come from."""

    def __init__(self, folder: Path, size: int) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - as long as this object
        self._size = size
        self.extents: dict[int, Extent] = {}
        self.kinds: dict[int, str] = {}

    def put(self, row: int, deep: DeepGrey) -> None:
        """Keep a plane; several threads may."""
        write_at(self._file.fileno(), deep.plane.tobytes(), row * deep.plane.nbytes)
        self.extents[row] = deep.extent
        self.kinds[row] = deep.kind

    def get(self, row: int) -> Plane:
        """Return a plane."""
        count = self._size * self._size * np.dtype(np.float32).itemsize
        content = os.pread(self._file.fileno(), count, row * count)
        return np.frombuffer(content, dtype=np.float32).reshape(self._size, self._size)

    def ranges(self, asked: Asked) -> Ranges:
        """Return the range of the images of each kind."""
        kinds = sorted(set(self.kinds.values()))
        return {kind: range_of([self.extents[row] for row in self.rows(kind)], asked) for kind in kinds}

    def rows(self, kind: str) -> list[int]:
        """Return the rows of the planes of a kind, in the order in which they came."""
        return [row for row, of_row in self.kinds.items() if of_row == kind]
