"""What runs again, by either door, after something was edited or removed: that, and no more."""

import shutil
import sys

from tests.support.project import STRATEGIES, Project
from tests.support.results import (
    is_up_to_date,
    must,
    read_comparison,
    stages_run_by_dvc,
    stages_run_by_flow,
    tracked_runs,
)


def test_a_flow_skips_what_is_there(small: Project) -> None:
    """It trains nothing, tracks nothing and says what it skipped."""
    before = tracked_runs(small)
    done = small.run(sys.executable, "-m", "flows.compare")
    output = must(done)
    assert stages_run_by_flow(done) == []
    for stage in ("fetch", "prepare", "backbone", "race", "finetune@scratch", "finetune@head_only", "compare"):
        assert f"skipped {stage}: up to date" in output
    assert tracked_runs(small) == before


def test_repro_runs_the_edited_strategy_alone(small: Project) -> None:
    """Another learning rate: DVC runs that strategy and the comparison, which has the new run and the old one."""
    params = small.params()
    params["strategies"]["head_only"]["lr"] = 0.002
    small.write_params(params)
    done = small.run("dvc", "repro")
    assert stages_run_by_dvc(done) == ["race", "finetune@head_only", "compare"], done.stdout + done.stderr
    runs, found = tracked_runs(small), read_comparison(small)
    assert {name for name, _, parent in runs.values() if parent == found.mlflow_run_id} == set(STRATEGIES)


def test_a_flow_runs_the_edited_strategy_alone(small: Project) -> None:
    """Another learning rate: ``flows.finetune`` runs that strategy, and DVC has only the comparison left to do."""
    params = small.params()
    params["strategies"]["head_only"]["lr"] = 0.003
    small.write_params(params)
    done = small.run(sys.executable, "-m", "flows.finetune", "head_only")
    assert stages_run_by_flow(done) == ["race", "evaluate head_only"], done.stdout + done.stderr
    assert stages_run_by_dvc(small.run("dvc", "repro", "--dry")) == ["compare"]


def test_repro_repeats_what_was_removed(small: Project) -> None:
    """Removed outputs of one strategy: DVC runs that one and the comparison."""
    shutil.rmtree(small.root / "data/runs/head_only")
    assert stages_run_by_dvc(small.run("dvc", "repro")) == ["finetune@head_only", "compare"]


def test_a_flow_repeats_what_was_removed(small: Project) -> None:
    """Removed outputs of all strategies: the flow makes them again, to the same bits, and DVC agrees."""
    before = weights(small)
    shutil.rmtree(small.root / "data/runs")
    done = small.run(sys.executable, "-m", "flows.compare")
    assert stages_run_by_flow(done) == [*(f"evaluate {name}" for name in sorted(STRATEGIES)), "compare"], done.stderr
    assert weights(small) == before
    assert is_up_to_date(small)


def weights(project: Project) -> dict[str, bytes]:
    """Return the weights that each strategy left."""
    return {name: (project.root / f"data/runs/{name}/model.safetensors").read_bytes() for name in STRATEGIES}
