"""A Prefect worker that dies with its run: the server notices, and the next one completes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.results import statuses
from tests.support.servers import Team
from tests.support.waiting import wait_for
from tests.support.workers import deployed, working

pytestmark = pytest.mark.system


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    """A project that is deployed."""
    with deployed(tmp_path, "workers") as team:
        yield team


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
