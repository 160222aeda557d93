"""Deployments on a real Prefect server and worker, on loopback."""

import json
import shutil
import sys
import time

import pytest

from tests.support.project import Project
from tests.support.results import is_up_to_date
from tests.support.running import process
from tests.support.servers import Team, shared_prefect
from tests.support.waiting import wait_for

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def team(small: Project) -> Team:
    """A project in which everything is up to date, deployed to a Prefect team."""
    team = Team(shared_prefect(), small, "served")
    team.deploy()
    return team


def test_worker_executes_the_deployment(team: Team) -> None:
    """``prefect deploy --all``, a worker, a run for now: Completed, with the comparison on its page."""
    shutil.rmtree(team.project.root / "data/runs/head_only")
    with process(team.project, "prefect", "worker", "start", "--pool", team.pool, PREFECT_API_URL=team.api):
        run = team.started()
        ended = team.ended(run)
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
    artifacts = team.ask("artifacts/filter", artifacts={"flow_run_id": {"any_": [run]}})
    kinds = {artifact["key"]: artifact["type"] for artifact in artifacts}
    assert kinds == {
        "data-quality": "table",
        "recommendation": "table",
        "comparison": "table",
        "verdict": "markdown",
        "mlflow-run": "markdown",
    }
    table = next(json.loads(artifact["data"]) for artifact in artifacts if artifact["key"] == "comparison")
    assert {row["strategy"].removeprefix("★ ") for row in table} == {"scratch", "head_only"}
    names = {run["name"] for run in team.ask("task_runs/filter", flow_runs={"id": {"any_": [run]}})}
    assert {"adapt head_only (freeze, replace head)", "fine-tune head_only", "evaluate head_only"} <= names
    assert is_up_to_date(team.project)


def test_serving_keeps_a_cron_schedule(team: Team) -> None:
    """``python -m flows.deployments`` creates a scheduled deployment that outlives it."""
    command = (sys.executable, "-m", "flows.deployments", "--cron", "30 4 * * *", "--name", "served")
    with process(team.project, *command, PREFECT_API_URL=team.api):
        deployments = wait_for(lambda: team.ask("deployments/filter", deployments={"name": {"any_": ["served"]}}), 60)
        time.sleep(1)
    assert [schedule["schedule"]["cron"] for schedule in deployments[0]["schedules"]] == ["30 4 * * *"]
    after = team.ask("deployments/filter", deployments={"name": {"any_": ["served"]}})
    assert not after[0]["paused"]
    assert all(schedule["active"] for schedule in after[0]["schedules"])
    ours = {"deployment_id": {"any_": [deployments[0]["id"]]}}
    scheduled = wait_for(lambda: team.ask("flow_runs/filter", flow_runs=ours), 60)
    assert {(run["state_type"], run["expected_start_time"][11:16]) for run in scheduled} == {("SCHEDULED", "04:30")}
