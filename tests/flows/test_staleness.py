"""What runs again, by either door, after something was edited or removed: that, and no more."""

import re
import shutil
import sys
from uuid import uuid4

from prefect import tags

from flows.outcome import RAN
from tests.support.project import STRATEGIES, Project, without_models
from tests.support.results import (
    is_up_to_date,
    must,
    read_comparison,
    stages_run_by_dvc,
    stages_run_by_flow,
    tracked_runs,
)
from tests.support.servers import Team, shared_prefect


def test_a_flow_skips_what_is_there(small: Project) -> None:
    """As its own process: it trains nothing, tracks nothing and says what it skipped."""
    before = tracked_runs(small)
    done = small.run(sys.executable, "-m", "flows.compare", PREFECT_API_URL=shared_prefect())
    output = must(done)
    assert stages_run_by_flow(done) == []
    for stage in ("fetch", "prepare", "backbone", "race", "finetune@scratch", "finetune@head_only", "compare"):
        assert f"skipped {stage}: up to date" in output
    assert tracked_runs(small) == before


def test_repro_repeats_what_was_edited(small: Project) -> None:
    """Another learning rate: DVC runs that strategy and the comparison, which has the new run and the old one."""
    edit(small, 0.002)
    done = small.run("dvc", "repro")
    assert stages_run_by_dvc(done) == ["race", "finetune@head_only", "compare"], done.stdout + done.stderr
    runs, comparison = tracked_runs(small), read_comparison(small)
    assert {name for name, _, parent in runs.values() if parent == comparison.mlflow_run_id} == set(STRATEGIES)


def test_repro_repeats_what_was_removed(small: Project) -> None:
    """Removed outputs of one strategy: that one is stale for DVC, and with it the comparison."""
    shutil.rmtree(small.root / "data/runs/head_only")
    assert stages_run_by_dvc(small.run("dvc", "repro", "--dry")) == ["finetune@head_only", "compare"]


def test_a_flow_repeats_what_was_edited(small: Project) -> None:
    """Another learning rate: ``flows.finetune`` runs that strategy, and DVC has only the comparison left to do."""
    edit(small, 0.003)
    assert ran(small, "finetune", "head_only") == {"race", "evaluate head_only"}
    assert stages_run_by_dvc(small.run("dvc", "repro", "--dry")) == ["compare"]


def test_a_flow_repeats_what_was_removed(small: Project) -> None:
    """Removed outputs of all strategies: the flow makes them again, to the same bits, and DVC agrees."""
    before = weights(small)
    shutil.rmtree(small.root / "data/runs")
    assert ran(small, "compare") == {*(f"evaluate {name}" for name in STRATEGIES), "compare"}
    assert weights(small) == before
    assert is_up_to_date(small)


def edit(project: Project, rate: float) -> None:
    """Give one strategy another learning rate."""
    params = project.params()
    params["strategies"]["head_only"]["lr"] = rate
    project.write_params(params)


def ran(project: Project, flow: str, *arguments: str) -> set[str]:
    """Run a flow in this process; return the tasks that had something to do."""
    team, tag = Team(shared_prefect(), project, ""), uuid4().hex
    with tags(tag), without_models():
        must(project.here(f"flows.{flow}", *arguments, PREFECT_API_URL=team.api))
    (run,) = team.ask("flow_runs/filter", flow_runs={"tags": {"all_": [tag]}})
    tasks = team.ask("task_runs/filter", task_runs={"flow_run_id": {"any_": [run["id"]]}}, limit=200)
    return {re.sub(r"-[0-9a-f]{3}$", "", task["name"]) for task in tasks if task["state"]["message"] == RAN}


def weights(project: Project) -> dict[str, bytes]:
    """Return the weights that each strategy left."""
    return {name: (project.root / f"data/runs/{name}/model.safetensors").read_bytes() for name in STRATEGIES}
