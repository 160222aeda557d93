"""A Prefect worker's run that dies, or is cancelled: the server notices, and the next one completes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.cells import write_cells
from tests.support.project import Project, make_project
from tests.support.results import is_up_to_date, must, statuses
from tests.support.running import Running
from tests.support.servers import Team, shared_prefect
from tests.support.waiting import wait_for

pytestmark = pytest.mark.system

EPOCHS = 300  # of a training that takes long enough to be disturbed
WITHIN = "within: 180"  # seconds, after which a run without heartbeats is dead


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A deployed project of one strategy, and automations that notice the dead after 40 seconds."""
    folder = tmp_path_factory.mktemp("workers")
    project = make_project(folder / "clone", write_cells(folder / "photos", 12), {"patience": EPOCHS})
    params = project.params()
    params["strategies"] = {"scratch": params["strategies"]["scratch"] | {"epochs": EPOCHS}}
    project.write_params(params)
    automations = project.root / "deploy/automations.yaml"
    assert WITHIN in automations.read_text()
    automations.write_text(automations.read_text().replace(WITHIN, "within: 40"))
    team = Team(shared_prefect(), project, "workers")
    team.deploy()
    team.run(sys.executable, "-m", "flows.automations")
    yield team
    team.run("prefect", "--no-prompt", "automation", "delete", "--all")


def test_a_worker_that_is_killed(team: Team) -> None:
    """With the run that it works on: the server notices, and the next run completes."""
    with working(team, "first") as worker:
        run = team.started()
        worker.wait_for("epoch 1/")
    wait_for(lambda: team.run_of(run)["state_type"] == "CRASHED", 90)
    with working(team, "second"):
        ended = team.ended(team.started())
    assert ended["state_type"] == "COMPLETED"
    assert statuses(team.project) == ["FAILED", "FINISHED", "FINISHED"]


def test_a_run_that_is_cancelled_on_its_page(team: Team) -> None:
    """In the middle of a training: it stops within 10 seconds, and nothing is held or left open."""
    params = team.project.params()
    params["train"]["seed"] = 1
    team.project.write_params(params)
    with working(team, "third") as worker:
        run = team.started()
        worker.wait_for("epoch 1/")
        team.ask(f"flow_runs/{run}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})
        wait_for(lambda: statuses(team.project)[-1] == "KILLED", 10)
        wait_for(lambda: team.run_of(run)["state_type"] == "CANCELLED", 60)  # Prefect's worker says so seconds later
    completes(team.project)


def completes(project: Project) -> None:
    """Run the other door to its end, after which all is there, and no run is left open."""
    must(project.run("dvc", "repro"))
    assert is_up_to_date(project)
    assert "RUNNING" not in statuses(project)


@contextmanager
def working(team: Team, name: str) -> Iterator[Running]:
    """Keep a worker running until it is killed, with every process that it started."""
    worker = Running(
        team.project, "prefect", "worker", "start", "--pool", team.pool, name=name, PREFECT_API_URL=team.api
    )
    try:
        yield worker
    finally:
        worker.kill()
