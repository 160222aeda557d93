"""Commands at work, which tests watch and interrupt."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.support.project import Project
from tests.support.waiting import wait_for

SECONDS = 200


class Running:
    """A command at work, in a process group of its own as in a terminal, and what it printed so far."""

    def __init__(self, project: Project, *command: str, name: str, **environment: str) -> None:
        self._printed = project.root / f"{name}.txt"
        with self._printed.open("w") as output:
            self.process = subprocess.Popen(
                command, cwd=project.root, env=project.environment(**environment), stdout=output, stderr=output,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    @property
    def printed(self) -> str:
        """Everything so far."""
        return self._printed.read_text()

    def wait_for(self, words: str) -> None:
        """Wait until it says something."""
        wait_for(lambda: words in self.printed or self.process.poll() is not None, SECONDS)
        assert words in self.printed, self.printed

    def ends(self, seconds: float = SECONDS) -> int:
        """Wait for its end; return its exit status."""
        return self.process.wait(seconds)

    def kill(self) -> None:
        """Kill it with every process that it started."""
        with suppress(psutil.NoSuchProcess):
            for process in (*psutil.Process(self.process.pid).children(recursive=True), self.process):
                process.kill()
        self.process.wait()

    def press_ctrl_c(self) -> None:
        """Interrupt all processes of the terminal's foreground group, as a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)


@contextmanager
def process(project: Project, *command: str, **environment: str) -> Iterator[None]:
    """Keep a process running for as long as the block runs; Ctrl-C ends it."""
    path = project.root / f"{Path(command[0]).stem}-{command[1]}.log"
    with path.open("w") as log:
        running = subprocess.Popen(
            command, cwd=project.root, env=project.environment(**environment), stdout=log, stderr=log,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield
        except BaseException:
            print(path.read_text())
            raise
        finally:
            running.send_signal(signal.SIGINT)
            try:
                running.wait(20)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
