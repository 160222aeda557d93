"""What breaks around a run: each ends in a correct result or in one clear sentence, and the next run completes.

A tracking server that goes down is in test_outage.py; two runs at once, and Ctrl-C, are in test_exclusive.py.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.golden import light
from tests.support.project import Project
from tests.support.results import is_up_to_date, must, one_sentence, statuses
from tests.support.running import Running

pytestmark = pytest.mark.system

COMPARE = (sys.executable, "-m", "flows.compare")
REPRO = ("dvc", "repro")
EPOCHS = 300  # of a training that takes long enough to be disturbed
MIB = 2**20
CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (clock == CLOCK_REALTIME && access(getenv("CLOCK_BACK"), F_OK) == 0) now->tv_sec -= 24 * 60 * 60;
    return failed;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    int failed = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec, now->tv_usec = precise.tv_nsec / 1000;
    return failed;
}
time_t time(time_t *seconds) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (seconds) *seconds = now.tv_sec;
    return now.tv_sec;
}
"""


# The operating system refuses files over some size while the network trains, as it would on a full disk.
FULL_DISK = """
import resource, sys
from tasks import __main__
from tasks.steps import finetune

train, largest = finetune.train, int(sys.argv.pop())

def on_a_full_disk(attempt):
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    try:
        train(attempt)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

finetune.train = on_a_full_disk
__main__.main()
"""


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


@pytest.fixture
def prefect(tmp_path: Path) -> dict[str, str]:
    """A home of Prefect's that no fault meets."""
    return {"PREFECT_HOME": str(tmp_path / "prefect")}


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


@pytest.mark.parametrize(("left", "command"), [(3, REPRO), (15, COMPARE)])
def test_a_full_disk(tmp_path: Path, prefect: dict[str, str], left: int, command: tuple[str, ...]) -> None:
    """On a file system with few MiB left one sentence says so; with more of them, the same command completes."""
    small = tmp_path / "small"
    small.mkdir()
    with mounted(small, "-t", "tmpfs", "-o", "size=300m", "tmpfs"):
        project, ballast = untrained(small / "clone"), small / "ballast"
        space = os.statvfs(small)
        ballast.write_bytes(bytes(space.f_bavail * space.f_frsize - left * MIB))
        ends_with_a_sentence(project.run(*command, **prefect), "No space left", "no space left", "disk is full")
        ballast.unlink()
        completes(project, *command, **prefect)


def test_full_disk_while_training(tmp_path: Path) -> None:
    """Whether MLflow's store or a checkpoint hits it: one sentence, nothing half-written; the next try succeeds."""
    project = untrained(tmp_path / "clone")
    project.steps("race")
    before = project.files()
    for largest, sentence in ((1 << 16, "disk space"), (1 << 22, "no space left")):
        limited = project.run(sys.executable, "-c", FULL_DISK, "finetune", "--strategy", "scratch", str(largest))
        assert sentence in one_sentence(limited)
        assert not any("checkpoint" in file or "runs/" in file for file in project.files() - before)
    project.steps("finetune@scratch")


def test_a_read_only_folder(tmp_path: Path, prefect: dict[str, str]) -> None:
    """By either door a sentence names it; once it may be written, the same command completes."""
    project = untrained(tmp_path / "clone")
    with read_only(project.root):
        for command in (REPRO, COMPARE):
            ends_with_a_sentence(project.run(*command, **prefect), "Read-only file system: .dvc", "clone/.dvc")
    shutil.rmtree(project.root / "data/fetched")
    with read_only(project.root / "data"):
        for command in (REPRO, COMPARE):
            ends_with_a_sentence(project.run(*command, **prefect), "Read-only file system: data/.fetched")
    completes(project, *COMPARE, **prefect)


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler, for another clock")
def test_a_clock_that_goes_back(tmp_path: Path) -> None:
    """A day, in the middle of a training: the same weights as without."""
    project = untrained(tmp_path / "clone", EPOCHS)
    weights = project.root / "data/runs/scratch/model.safetensors"
    library, back = tmp_path / "clock.so", tmp_path / "back"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library), "-ldl"], input=CLOCK, text=True, check=True
    )
    running = Running(project, *COMPARE, name="compare", LD_PRELOAD=str(library), CLOCK_BACK=str(back))
    try:
        running.wait_for("epoch 1/")
        back.touch()
        assert running.ends() == 0, running.printed
    finally:
        running.kill()
    assert statuses(project) == ["FINISHED", "FINISHED"]
    assert is_up_to_date(project)
    disturbed = sha256(weights.read_bytes()).hexdigest()
    weights.unlink()
    project.steps("finetune@scratch")
    assert sha256(weights.read_bytes()).hexdigest() == disturbed
