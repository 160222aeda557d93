"""A run that is asked to stop: long work looks between its steps whether it is, and ends with all in order."""

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType
from typing import TypeVar

Item = TypeVar("Item")
Handler = Callable[[int, FrameType | None], None]

STOPPED = "stopped; the same command goes on where this one was"
SECONDS_TO_STOP = 3.0  # for work in the main thread, which is interrupted then

_asked, _left_to_others = Event(), Event()


class StoppedError(Exception):
    """Work ended between two of its steps because it was asked to."""


class InterruptedRun(BaseException):
    """A signal ended the run wherever it was; like KeyboardInterrupt, only the entry catches it.

    Attributes:
        status: the exit status of a command that a signal ends.
    """

    def __init__(self, number: int) -> None:
        super().__init__(STOPPED)
        self.status = 128 + number


def ask() -> None:
    """Ask all work in this process to stop."""
    _asked.set()


def forget() -> None:
    """Let work in this process begin again."""
    _asked.clear()


def is_asked() -> bool:
    """Return whether work in this process is asked to stop."""
    return _asked.is_set()


def leave_to_others() -> None:
    """Let no work in this process stop by itself: it asks another one, with which it works together."""
    _left_to_others.set()


def check() -> None:
    """Return where nobody asked this process to stop, or where it leaves that to another.

    Raises:
        StoppedError: somebody did.
    """
    if _asked.is_set() and not _left_to_others.is_set():
        raise StoppedError(STOPPED)


def between(items: Iterable[Item]) -> Iterator[Item]:
    """Yield items as long as nobody asks to stop.

    Raises:
        StoppedError: somebody did, before the next item was made.
    """
    iterator = iter(items)
    while True:
        check()
        try:
            item = next(iterator)
        except StopIteration:
            return
        yield item


@contextmanager
def by_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM stop the block, in the main thread: between two steps, or else after some seconds.

    Raises:
        InterruptedRun: a signal came.
    """
    received: list[int] = []

    def ask_first(number: int, _: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            raise InterruptedRun(number)
        ask()
        signal.setitimer(signal.ITIMER_REAL, SECONDS_TO_STOP)

    def interrupt(_: int, __: FrameType | None) -> None:
        raise InterruptedRun(received[0])

    handlers: dict[signal.Signals, Handler] = {
        signal.SIGINT: ask_first,
        signal.SIGTERM: ask_first,
        signal.SIGALRM: interrupt,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    forget()
    try:
        yield
    except StoppedError as error:
        raise InterruptedRun(received[0] if received else signal.SIGTERM) from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block at once, as Ctrl-C does; in the main thread.

    Raises:
        InterruptedRun: the signal came.
    """

    def interrupt(number: int, _: FrameType | None) -> None:
        raise InterruptedRun(number)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
