"""Progress that a person sees: a bar in a terminal, a plain line now and then elsewhere."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress

from tasks.progress import SECONDS_BETWEEN_LINES, bar_on, counting, plain_console

Item = TypeVar("Item")


class Reporter:
    """Shows epochs and steps of one fine-tuning."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self._title = title
        self._console = console or plain_console()
        self._bar: Progress | None = None
        self._last_line = 0.0

    @contextmanager
    def epochs(self) -> Iterator[None]:
        """Show a bar for as long as the block runs, where there is a terminal."""
        if not self._console.is_terminal:
            yield
            return
        with bar_on(self._console) as self._bar:
            yield
        self._bar = None

    def steps(self, batches: Iterable[Item], count: int, epoch: int, epochs: int) -> Iterator[Item]:
        """Yield ``batches`` and move the bar along."""
        if self._bar is None:
            yield from batches
            return
        task = self._bar.add_task(f"{self._title} epoch {epoch + 1}/{epochs}", total=count)
        for batch in batches:
            yield batch
            self._bar.advance(task)
        self._bar.remove_task(task)

    def epoch_done(self, row: dict[str, float], epochs: int) -> None:
        """Say how an epoch went; very short epochs are said now and then only."""
        epoch, now = int(row["epoch"]) + 1, time.monotonic()
        if epoch < epochs and now - self._last_line < SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        self._console.print(
            f"{self._title}: epoch {epoch}/{epochs}, train loss {row['train_loss']:.4f}, "
            f"validation loss {row['val_loss']:.4f}, validation accuracy {row['val_accuracy']:.4f}"
        )

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show how much of some counted work is done; yield a function that takes how many more are."""
        if self._bar is None:
            with counting(f"{self._title}: {what}", total, self._console) as advance:
                yield advance
            return
        bar, task = self._bar, self._bar.add_task(f"{self._title}: {what}", total=total)
        yield lambda count: bar.advance(task, count)
        bar.remove_task(task)

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(f"{self._title}: {text}")
