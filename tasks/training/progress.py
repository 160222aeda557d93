"""Progress that a person sees of a training: a bar in a terminal, a plain line every few seconds elsewhere."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress

from tasks.progress import SECONDS_BETWEEN_LINES, SECONDS_TO_TELL, bar_on, counting, duration, plain_console

Item = TypeVar("Item")


class Reporter:
    """Shows epochs and steps of one fine-tuning, and how long the rest of it takes."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self._title = title
        self._console = console or plain_console()
        self._bar: Progress | None = None
        self._last_line = self._last_result = 0.0
        self._unsaid = ""  # the result of an epoch that followed shortly on another
        self._left = _TimeLeft()

    @contextmanager
    def epochs(self) -> Iterator[None]:
        """Show a bar for as long as the block runs, where there is a terminal; say the last epoch's result anyway."""
        self._left, self._last_line = _TimeLeft(), time.monotonic()
        if self._console.is_terminal:
            with bar_on(self._console, with_time_left=False) as self._bar:
                yield
            self._bar = None
        else:
            yield
        self._say_result(self._unsaid)

    def steps(self, batches: Iterable[Item], count: int, epoch: int, epochs: int, behind: int = 0) -> Iterator[Item]:
        """Yield ``batches``, and show after each how far the training is.

        Args:
            batches: of the rest of the epoch.
            count: of these batches.
            epoch: from 0.
            epochs: of the training, at most.
            behind: steps of the epoch that were taken before.
        """
        self._left.start_epoch(behind)
        steps, bar = behind + count, self._bar
        title = f"{self._title} epoch {epoch + 1}/{epochs}"
        task = bar.add_task(title, total=steps, completed=behind) if bar else None
        for step, batch in enumerate(batches, behind + 1):
            yield batch
            left = self._left.after(step, steps, epochs - epoch - 1)
            if bar and task is not None:
                bar.update(task, advance=1, description=title + left)
            elif step < steps and time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
                self._last_line = time.monotonic()
                self._console.print(f"{self._title}: epoch {epoch + 1}/{epochs}, step {step}/{steps}{left}")
        if bar and task is not None:
            bar.remove_task(task)

    def epoch_done(self, row: dict[str, float], epochs: int, *, ends_phase: bool = False) -> None:
        """Say how an epoch went; of very short epochs now and then, the last one of a phase, and the last one."""
        self._left.end_epoch()
        epoch = int(row["epoch"]) + 1
        result = (
            f"{self._title}: epoch {epoch}/{epochs}, train loss {row['train_loss']:.4f}, "
            f"validation loss {row['val_loss']:.4f}, validation accuracy {row['val_accuracy']:.4f}"
        )
        is_early = time.monotonic() - self._last_result < SECONDS_BETWEEN_LINES
        self._unsaid = result
        if not is_early or ends_phase or epoch >= epochs:
            self._say_result(result)

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

    def _say_result(self, result: str) -> None:
        if result:
            self._console.print(result)
            self._last_line = self._last_result = time.monotonic()
        self._unsaid = ""


class _TimeLeft:
    """How long the rest of a training takes, by the epoch under way and the one before it.

    An epoch that is under way says what a step takes, the one before it what validating takes besides.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._behind = 0
        self._seconds_of_steps = 0.0
        self._besides = 0.0  # seconds of the last whole epoch that were not of its steps

    def start_epoch(self, behind: int) -> None:
        """Note that an epoch goes on after so many of its steps."""
        self._started, self._behind, self._seconds_of_steps = time.monotonic(), behind, 0.0

    def end_epoch(self) -> None:
        """Note that an epoch was validated."""
        self._besides = max(0.0, time.monotonic() - self._started - self._seconds_of_steps)

    def after(self, step: int, steps: int, epochs: int) -> str:
        """Return the words for it after a step of an epoch, which others follow: ``, at most 6 min left``."""
        self._seconds_of_steps = time.monotonic() - self._started
        if self._seconds_of_steps < SECONDS_TO_TELL:
            return ""
        a_step = self._seconds_of_steps / (step - self._behind)
        left = a_step * (steps - step + epochs * steps) + self._besides * (1 + epochs)
        return f", {'at most ' if epochs else ''}{duration(left)} left"  # as it may stop early
