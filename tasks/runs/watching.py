"""Splits that show how far they have been read, which is how far whoever reads them has come."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import cast

from tasks.arrays import Pixels
from tasks.progress import counting
from tasks.training.batches import Rows, Split


@contextmanager
def watched(title: str, split: Split) -> Iterator[Split]:
    """Yield a split with the same images; for as long as the block runs, its progress is shown."""
    with counting(title, len(split)) as advance:
        yield replace(split, store=cast(Pixels, _Watched(split.store, advance)))


@dataclass(frozen=True)
class _Watched:
    """A store that tells how many images are read."""

    store: Pixels
    advance: Callable[[int], None]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.store.shape

    @property
    def base(self) -> object:
        """What the store is mapped from, if it is mapped."""
        return self.store.base

    def __getitem__(self, rows: Rows) -> Pixels:
        self.advance(len(rows))
        return self.store[rows]
