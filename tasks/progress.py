"""Progress of work: a bar in a terminal, elsewhere a plain line every few seconds, each with the time that is left."""

import io
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from threading import Event, Thread

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_UPDATES = 1.0  # in a terminal
SECONDS_LOOKED_BACK = 30.0  # in which work shows how fast it goes
SECONDS_TO_TELL = 1.0  # of work before it is said how long the rest takes

_is_showing = ContextVar("is_showing", default=False)  # a bar: another one within it would write over it
_line_to: ContextVar[Callable[[str], None] | None] = ContextVar("line_to", default=None)


class _Lines(io.StringIO):
    """A file that hands on what is written to it line by line: to where this thread's lines go now, or went first."""

    def __init__(self, line_to: Callable[[str], None]) -> None:
        super().__init__()
        self._first, self._begun = line_to, ""

    def write(self, text: str) -> int:
        """Hand on the lines that this completes."""
        *lines, self._begun = (self._begun + text).split("\n")
        line_to = _line_to.get() or self._first
        for line in lines:
            line_to(line)
        return len(text)


@contextmanager
def lines_to(line_to: Callable[[str], None]) -> Iterator[None]:
    """Hand what this thread says of its progress, for as long as the block runs, to a function instead of a terminal.

    Args:
        line_to: takes a line.
    """
    before = _line_to.set(line_to)
    try:
        yield
    finally:
        _line_to.reset(before)


def plain_console() -> Console:
    """Return a console that leaves lines as they are."""
    line_to = _line_to.get()
    return Console(highlight=False, soft_wrap=True, file=_Lines(line_to) if line_to else None)


def bar_on(console: Console, *, of_bytes: bool = False, with_time_left: bool = True) -> Progress:
    """Return a bar with a count and the time that remains, which vanishes at its end."""
    count = DownloadColumn() if of_bytes else MofNCompleteColumn()
    time_left = [TimeRemainingColumn()] if with_time_left else []
    return Progress(
        TextColumn("{task.description}"), BarColumn(), count, *time_left, console=console, transient=True
    )  # fmt: skip


class Pace:
    """How fast counted work goes, judged by the last half a minute of it.

    Attributes:
        total: of what is counted.
        done: of it.
    """

    def __init__(self, total: float) -> None:
        self.total, self.done = total, 0.0
        self._seen = deque([(time.monotonic(), 0.0)])

    def advance(self, count: float) -> None:
        """Note that so many more are done."""
        now = time.monotonic()
        self.done += count
        self._seen.append((now, self.done))
        while len(self._seen) > 2 and now - self._seen[1][0] >= SECONDS_LOOKED_BACK:
            self._seen.popleft()

    def left(self) -> float | None:
        """Return the seconds that the rest takes; None where nobody can tell yet."""
        (since, before), (until, done) = self._seen[0], self._seen[-1]
        if until - since < SECONDS_TO_TELL or done <= before:
            return None
        return max(0.0, self.total - self.done) * (until - since) / (done - before)


@contextmanager
def counting(
    title: str, total: int | None, console: Console | None = None, *, of_bytes: bool = False
) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes how many more are done; outside a terminal, the end is left to others to say.

    Args:
        title: what is done.
        total: how many there are; None: nobody knows.
        console: where it is shown.
        of_bytes: whether bytes are counted, which are shown as megabytes.
    """
    console = console or plain_console()
    if console.is_terminal:
        with _alone() as is_alone, bar_on(console, of_bytes=of_bytes) if is_alone else nullcontext() as bar:
            task = bar.add_task(title, total=total) if bar else None
            yield lambda count: bar.advance(task, count) if bar and task is not None else None
        return
    pace, said = Pace(total or 0), time.monotonic()

    def advance(count: int) -> None:
        nonlocal said
        pace.advance(count)
        if time.monotonic() - said >= SECONDS_BETWEEN_LINES and (total is None or pace.done < total):
            said = time.monotonic()
            console.print(f"{title}: {_state_of(pace, of_bytes=of_bytes)}")

    yield advance


@contextmanager
def during(title: str, console: Console | None = None, so_far: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Show, for as long as the block runs, that something without a count is being done, and for how long by now.

    Args:
        title: what is done.
        console: where it is shown.
        so_far: returns what there is to see of it by now, such as the size of a file; it is asked by another thread.
    """
    console = console or plain_console()
    started = time.monotonic()

    def line() -> str:
        seen = so_far()
        return f"{title}: {seen}{', ' if seen else ''}for {duration(time.monotonic() - started)} by now"

    if console.is_terminal:
        with (
            _alone() as is_alone,
            console.status(title) if is_alone else nullcontext() as status,
            _now_and_then(SECONDS_BETWEEN_UPDATES, lambda: status.update(line()) if status else None),
        ):
            yield
    else:
        with _now_and_then(SECONDS_BETWEEN_LINES, lambda: console.print(line())):
            yield


def duration(seconds: float) -> str:
    """Return a time in the unit that says enough: ``12 s``, ``6 min``, ``1 h 35 min``; at least a second."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def megabytes(count: float) -> str:
    """Return a number of bytes as megabytes, of 1,000,000 bytes each: ``14.2 MB``."""
    return f"{count / 1e6:,.1f} MB"


@contextmanager
def _alone() -> Iterator[bool]:
    """Yield whether nothing else is shown in the terminal, and keep it from others for as long as the block runs."""
    is_alone = not _is_showing.get()
    before = _is_showing.set(True)
    try:
        yield is_alone
    finally:
        _is_showing.reset(before)


@contextmanager
def _now_and_then(seconds: float, show: Callable[[], None]) -> Iterator[None]:
    """Call a function every so many seconds, in a thread, for as long as the block runs."""
    ended = Event()

    def loop() -> None:
        while not ended.wait(seconds):
            show()

    thread = Thread(target=loop, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _state_of(pace: Pace, *, of_bytes: bool) -> str:
    """Return how far counted work is: ``320 of 1,968 (16%), 12 s left``."""
    shown = megabytes if of_bytes else "{:,.0f}".format
    if not pace.total:
        return shown(pace.done)
    left = pace.left()
    time_left = "" if left is None else f", {duration(left)} left"
    return f"{shown(pace.done)} of {shown(pace.total)} ({pace.done / pace.total:.0%}){time_left}"
