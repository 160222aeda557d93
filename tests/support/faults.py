"""Faults that a test plants around a run, and what each of them has to end in."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.golden import light
from tests.support.project import Project
from tests.support.results import is_up_to_date, must, statuses

COMPARE = (sys.executable, "-m", "flows.compare")
REPRO = ("dvc", "repro")


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Mount something at a folder; skip where this user may not."""
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this user may not mount a file system: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # a process may be ending


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody write a folder, not even root."""
    with mounted(folder, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        yield


def untrained(root: Path, epochs: int = 1) -> Project:
    """Return a project of one strategy, which is the first thing that is still to be run."""
    project = light().copy(root)
    params = project.params()
    scratch = params["strategies"]["scratch"] | {"epochs": epochs, "patience": epochs}
    params["strategies"] = {"scratch": scratch}
    project.write_params(params)
    for made in ("data/runs", "data/reports", "mlflow.db", "mlruns"):
        path = root / made
        path.unlink() if path.is_file() else shutil.rmtree(path)
    return project


def completes(project: Project, *command: str, **environment: str) -> None:
    """Run a command to its end, after which all is there, and no run is left open."""
    must(project.run(*command, **environment))
    assert is_up_to_date(project)
    assert "RUNNING" not in statuses(project)


def ends_with_a_sentence(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Hold what a command printed against what a person can read."""
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in said, said
    assert any(word in said for word in words), said
