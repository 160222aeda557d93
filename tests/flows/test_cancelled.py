"""A run that is cancelled on its page of the Prefect server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.results import is_up_to_date, must, statuses
from tests.support.servers import Team
from tests.support.waiting import wait_for
from tests.support.workers import deployed, working

pytestmark = pytest.mark.system


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    """A project that is deployed."""
    with deployed(tmp_path, "cancelled") as team:
        yield team


def test_a_run_that_is_cancelled_on_its_page(team: Team) -> None:
    """In the middle of a training: it stops within 10 seconds, and nothing is held or left open."""
    with working(team, "third") as worker:
        run = team.started()
        worker.wait_for("epoch 1/")
        team.ask(f"flow_runs/{run}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})
        wait_for(lambda: statuses(team.project)[-1] == "KILLED", 10)
        wait_for(lambda: team.run_of(run)["state_type"] == "CANCELLED", 60)  # Prefect's worker says so seconds later
    must(team.project.run("dvc", "repro"))
    assert is_up_to_date(team.project)
    assert "RUNNING" not in statuses(team.project)
