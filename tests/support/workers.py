"""A deployed project of one long training, and Prefect's workers that run it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.cells import write_cells
from tests.support.project import make_project
from tests.support.running import Running
from tests.support.servers import Team, shared_prefect

EPOCHS = 120  # of a training that takes long enough to be disturbed
WITHIN = "within: 180"  # seconds, after which a run without heartbeats is dead


@contextmanager
def deployed(folder: Path, pool: str) -> Iterator[Team]:
    """Deploy a project to a pool of its own, with automations that notice the dead after 40 seconds."""
    project = make_project(folder / "clone", write_cells(folder / "photos", 12), {"patience": EPOCHS})
    params = project.params()
    params["strategies"] = {"scratch": params["strategies"]["scratch"] | {"epochs": EPOCHS}}
    project.write_params(params)
    automations = project.root / "deploy/automations.yaml"
    assert WITHIN in automations.read_text()
    automations.write_text(automations.read_text().replace(WITHIN, "within: 40"))
    team = Team(shared_prefect(), project, pool)
    team.deploy()
    team.run(sys.executable, "-m", "flows.automations")
    yield team
    team.run("prefect", "--no-prompt", "automation", "delete", "--all")


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
