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
from mlflow import MlflowClient

from tests.conftest import write_cells
from tests.flows import servers
from tests.flows.project import Project, make_project
from tests.flows.test_exclusive import Running
from tests.flows.test_served import Server, wait_for

COMPARE = (sys.executable, "-m", "flows.compare")
REPRO = ("dvc", "repro")
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
EPOCHS = 300  # of a training that takes long enough to be disturbed
MIB = 2**20
WITHIN = "within: 180"  # seconds, after which a run without heartbeats is dead
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


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images."""
    return write_cells(tmp_path_factory.mktemp("faults") / "photos", 12)


def make_long(project: Project) -> None:
    """Let the only strategy take some seconds."""
    params = project.params()
    params["train"]["patience"] = EPOCHS
    params["strategies"] = {"scratch": params["strategies"]["scratch"] | {"epochs": EPOCHS}}
    project.write_params(params)


def statuses(project: Project) -> list[str]:
    """Return how the runs in MLflow ended, the first one first."""
    client = MlflowClient(f"sqlite:///{project.root}/mlflow.db")
    runs = client.search_runs(["1"], order_by=["attributes.start_time"])
    return [run.info.status for run in runs]


def completes(project: Project, *command: str, **environment: str) -> None:
    """Run a command to its end, after which all is there, and no run is left open."""
    done = project.run(*command, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "up to date" in project.run("dvc", "status").stdout
    assert "RUNNING" not in statuses(project)


def ends_with_a_sentence(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Hold what a command printed against what a person can read."""
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in said, said
    assert any(word in said for word in words), said


@pytest.mark.parametrize(("left", "command"), [(3, REPRO), (15, COMPARE)])
def test_a_full_disk(images: Path, tmp_path: Path, left: int, command: tuple[str, ...]) -> None:
    """On a file system with few MiB left one sentence says so; with more of them, the same command completes."""
    small, prefect = tmp_path / "small", {"PREFECT_HOME": str(tmp_path / "prefect")}
    small.mkdir()
    with mounted(small, "-t", "tmpfs", "-o", "size=300m", "tmpfs"):
        project, ballast = make_project(small / "clone", images), small / "ballast"
        space = os.statvfs(small)
        ballast.write_bytes(bytes(space.f_bavail * space.f_frsize - left * MIB))
        ends_with_a_sentence(project.run(*command, **prefect), "No space left", "no space left", "disk is full")
        ballast.unlink()
        completes(project, *command, **prefect)


def test_a_read_only_folder(images: Path, tmp_path: Path) -> None:
    """By either door a sentence names it; once it may be written, the same command completes."""
    project = make_project(tmp_path / "clone", images)
    prefect = {"PREFECT_HOME": str(tmp_path / "prefect")}
    with read_only(project.root):
        for command in (REPRO, COMPARE):
            ends_with_a_sentence(project.run(*command, **prefect), "Read-only file system: .dvc", "clone/.dvc")
    data = project.root / "data"
    data.mkdir()
    with read_only(data):
        for command in (REPRO, COMPARE):
            ends_with_a_sentence(project.run(*command, **prefect), "Read-only file system: data/.fetched")
    completes(project, *COMPARE, **prefect)


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler, for another clock")
def test_a_clock_that_goes_back(images: Path, tmp_path: Path) -> None:
    """A day, in the middle of a training: the same weights as without."""
    project = make_project(tmp_path / "clone", images)
    make_long(project)
    library, back, weights = (
        tmp_path / "clock.so",
        tmp_path / "back",
        project.root / "data/runs/scratch/model.safetensors",
    )
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
    disturbed = sha256(weights.read_bytes()).hexdigest()
    weights.unlink()
    completes(project, *REPRO)
    assert sha256(weights.read_bytes()).hexdigest() == disturbed


@pytest.fixture(scope="module")
def server(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Prefect server with the repository's deployments and automations, which notice the dead after 40 seconds."""
    folder = tmp_path_factory.mktemp("worker")
    project = make_project(folder / "clone", images)
    make_long(project)
    automations = project.root / "deploy/automations.yaml"
    assert WITHIN in automations.read_text()
    automations.write_text(automations.read_text().replace(WITHIN, "within: 40"))
    prefect = servers.prefect_server(project, PREFECT_HOME=str(folder / "server"))
    prefect.start()
    try:
        prefect.wait()
        server = Server(f"{prefect.address}/api", project)
        server.run("prefect", "work-pool", "create", "thawline", "--type", "process")
        server.run("prefect", "--no-prompt", "deploy", "--all")
        server.run(sys.executable, "-m", "flows.automations")
        yield server
    finally:
        prefect.kill()


def test_a_worker_that_is_killed(server: Server) -> None:
    """With the run that it works on: the server notices, and the next run completes."""
    with working(server, "first") as worker:
        run = started(server)
        worker.wait_for("epoch 1/")
    wait_for(lambda: state_of(server, run) == "CRASHED", 90)
    with working(server, "second"):
        run = started(server)
        wait_for(lambda: state_of(server, run) in ENDED, 200)
    assert state_of(server, run) == "COMPLETED"
    assert statuses(server.project) == ["FAILED", "FINISHED", "FINISHED"]


def test_a_run_that_is_cancelled_on_its_page(server: Server) -> None:
    """In the middle of a training: it stops within 10 seconds, and nothing is held or left open."""
    params = server.project.params()
    params["train"]["seed"] = 1
    server.project.write_params(params)
    with working(server, "third") as worker:
        run = started(server)
        worker.wait_for("epoch 1/")
        server.ask(f"flow_runs/{run}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})
        wait_for(lambda: statuses(server.project)[-1] == "KILLED", 10)
        wait_for(lambda: state_of(server, run) == "CANCELLED", 60)  # Prefect's worker says so some seconds later
    completes(server.project, *REPRO)


@contextmanager
def working(server: Server, name: str) -> Iterator[Running]:
    """Keep a worker running until it is killed, with every process that it started."""
    worker = Running(
        server.project, "prefect", "worker", "start", "--pool", "thawline", name=name, PREFECT_API_URL=server.api
    )
    try:
        yield worker
    finally:
        worker.kill()


def started(server: Server) -> str:
    """Let the main job run now; return the run's id."""
    (deployment,) = server.ask("deployments/filter", deployments={"name": {"any_": ["nightly"]}})
    run: str = server.ask(f"deployments/{deployment['id']}/create_flow_run")["id"]
    return run


def state_of(server: Server, run: str) -> str:
    """Return the type of a run's state."""
    (found,) = server.ask("flow_runs/filter", flow_runs={"id": {"any_": [run]}})
    return str(found["state_type"])
