"""Prefect's temporary server, which is stopped before a command's last word, and what is said of a first failure."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE, temporary_settings

from flows import outcome, temporary
from tasks.errors import UserError
from tests.support.project import Project, make_project
from tests.support.results import one_sentence
from tests.support.servers import shared_prefect

PRINTS_A_TRACEBACK_WHEN_STOPPED = """
import signal, sys, time

def stop(*_):
    print("Traceback (most recent call last): CancelledError", file=sys.stderr, flush=True)
    sys.exit(1)

signal.signal(signal.SIGTERM, stop)
print("a real error", file=sys.stderr, flush=True)
print("ready", flush=True)
time.sleep(60)
"""


class Slow:
    """Stands for Prefect's server on a machine that is slow to stop it."""

    def start(self) -> None:
        """Start what prints."""
        command = [sys.executable, "-c", PRINTS_A_TRACEBACK_WHEN_STOPPED]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def stop(self) -> None:
        """Ask it to stop, and wait for it."""
        self.process.terminate()
        self.process.communicate(timeout=30)


def test_what_it_prints_while_it_is_stopped_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its errors before that are, and so is what this process prints at any time."""
    monkeypatch.setattr(temporary, "SubprocessASGIServer", Slow)
    with temporary_settings({PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: True}, restore_defaults={PREFECT_API_URL}):
        with temporary.temporary_server():
            os.write(2, b"thawline works\n")
        os.write(2, b"thawline: the last word\n")
    printed = capfd.readouterr().err
    assert "a real error" in printed
    assert "thawline works" in printed
    assert printed.endswith("thawline: the last word\n")
    assert "Traceback" not in printed


def test_one_that_does_not_start_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to do on a machine that is too busy."""

    def start(_: Slow) -> None:
        raise RuntimeError("Timed out while attempting to connect. stdout: ...")

    monkeypatch.setattr(Slow, "start", start)
    monkeypatch.setattr(temporary, "SubprocessASGIServer", Slow)
    with (
        temporary_settings({PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: True}, restore_defaults={PREFECT_API_URL}),
        pytest.raises(UserError, match=r"did not start .Timed out while attempting to connect.: try again"),
        temporary.temporary_server(),
    ):
        pass


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose images are not there."""
    return make_project(tmp_path / "clone", tmp_path / "photos")


def test_what_a_failure_keeps_from_running_is_one_line(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names every later task once, and the sentence of the first comes last."""
    said: list[str] = []

    def heard(record: logging.LogRecord) -> bool:
        said.append(record.getMessage())
        return True

    for name in ("prefect.flow_runs", "prefect.task_runs"):  # whose handlers Prefect replaces
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "filters", [*logger.filters, heard])
    done = project.here("flows.compare", PREFECT_API_URL=shared_prefect())
    assert str(project.root.parent / "photos") in one_sentence(done)
    (line,) = [message for message in said if message.startswith("not run")]
    for task in ("retrieve backbone", "probe data", "race", "fine-tune", "evaluate", "compare"):
        assert line.count(task) == 1
    assert not any("NotReady" in message for message in said)
    assert outcome.NOT_RUN.taken() == []


@pytest.mark.slow
def test_the_last_line_is_the_sentence(project: Project) -> None:
    """With a temporary server, too, whose end is behind the command."""
    done = project.run(sys.executable, "-m", "flows.compare")
    one_sentence(done)
    assert done.stderr.splitlines()[-1].startswith("thawline: the data folder")
