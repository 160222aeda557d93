"""Progress of counted work: a bar in a terminal, a plain line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 5.0


def plain_console() -> Console:
    """Return a console that leaves lines as they are."""
    return Console(highlight=False, soft_wrap=True)


def bar_on(console: Console) -> Progress:
    """Return a bar with a count and the time that remains, which vanishes at its end."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)


@contextmanager
def counting(title: str, total: int, console: Console | None = None) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes how many more are done."""
    console = console or plain_console()
    if console.is_terminal:
        with bar_on(console) as bar:
            task = bar.add_task(title, total=total)
            yield lambda count: bar.advance(task, count)
        return
    done, said = 0, time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, said
        done += count
        if time.monotonic() - said > SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            console.print(f"{title}: {done} of {total}")

    yield advance
