"""Prefect's temporary server: started where no other is named, and stopped before a command's last word."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE

from tasks.errors import UserError

STDERR = 2
SECONDS_TO_DELIVER = 5.0


@contextmanager
def temporary_server() -> Iterator[None]:
    """Keep a temporary server up for the block, unless another is named.

    Behind the block it is told what is left to tell, and stopped. What it prints from then on is dropped: on a slow
    machine that is a traceback for every statement that it was in the middle of.

    Raises:
        UserError: it did not start.
    """
    if PREFECT_API_URL.value() or not PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value():
        yield
        return
    server, printed = SubprocessASGIServer(), _Printed()
    try:
        with printed.by_what_is_started_here(), _deaf_to_ctrl_c():
            server.start()
    except RuntimeError as error:
        raise UserError(
            f"Prefect's temporary server did not start ({str(error).partition('.')[0]}): try again when the machine is "
            "less busy, or run 'prefect server start' and set PREFECT_API_URL=http://127.0.0.1:4200/api"
        ) from error
    try:
        yield
    finally:
        for worker in (APILogWorker, EventsWorker):
            worker.drain_all(timeout=SECONDS_TO_DELIVER)
        printed.drop()
        server.stop()


class _Printed:
    """What another process prints to stderr: passed on, until it is dropped."""

    END = b"\0the rest is dropped\0"

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        self._ended = threading.Event()

    def drop(self) -> None:
        """Pass on what was printed so far, and nothing more."""
        os.write(self._writing, self.END)
        os.close(self._writing)
        self._ended.wait(SECONDS_TO_DELIVER)

    @contextmanager
    def by_what_is_started_here(self) -> Iterator[None]:
        """Let the processes that the block starts have a stderr of their own, which a thread reads."""
        stderr = os.dup(STDERR)
        threading.Thread(target=self._pass_on, args=(stderr,), daemon=True).start()
        os.dup2(self._writing, STDERR)
        try:
            yield
        finally:
            os.dup2(stderr, STDERR)

    def _pass_on(self, stderr: int) -> None:
        while text := os.read(self._reading, 1 << 16):  # also behind the end, so that who prints need not wait
            if not self._ended.is_set():
                shown, end, _ = text.partition(self.END)
                os.write(stderr, shown)
                if end:
                    self._ended.set()


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Let the processes that the block starts not hear Ctrl-C, which would end them before the flow."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
