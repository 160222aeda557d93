"""What a fine-tuning reads and builds, in one process and in several."""

import json
from pathlib import Path
from unittest import mock

import mlflow
import pytest

from tasks.runs import fine_tuning
from tasks.runs.prepared import PreparedData
from tasks.steps import finetune
from tasks.strategies import surgery
from tests.support.cells import write_cells
from tests.support.project import PREPARE, Project, make_project, without_models

OUTPUTS = ("model.safetensors", "predictions.parquet", "history.csv")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose images are prepared and probed, and whose strategies wait to be trained."""
    root = tmp_path_factory.mktemp("fine-tuning")
    project = make_project(root / "clone", write_cells(root / "photos", 12))
    project.steps(*PREPARE, "probe")
    return project


def outputs(project: Project) -> dict[str, bytes]:
    """Return what does not depend on time of the outputs of a strategy."""
    return {name: (project.root / "data/runs/scratch" / name).read_bytes() for name in OUTPUTS}


def test_a_process_reads_the_data_once_and_another_one_reads_it_again(project: Project) -> None:
    """A process that finds nothing of what was planned in another one makes the same of it."""
    read, adapt = PreparedData.read, surgery.adapt
    with (
        project.entered(),
        without_models(),
        mock.patch.object(PreparedData, "read", side_effect=read) as reading,
        mock.patch.object(surgery, "adapt", side_effect=adapt) as building,
    ):
        finetune.fine_tunings("scratch")
        assert (reading.call_count, building.call_count) == (1, 2)
        together = outputs(project)
        attempt = finetune.adapt("scratch")
        for task in (finetune.train, finetune.evaluate):
            with mock.patch.dict(finetune.UNDER_WAY, clear=True):
                task(attempt)
        assert outputs(project) == together


def test_a_plan_is_made_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for twice is not built twice; the network that the plan was made with is trained first."""
    monkeypatch.chdir(project.root)
    with mock.patch.object(surgery, "adapt", side_effect=surgery.adapt) as building:
        planned = fine_tuning.FineTuning.read("scratch")
        assert planned.make_plan() == planned.make_plan()
        assert building.call_count == 1
        planned.train(lambda _: None)
        assert building.call_count == 1


def test_a_plan_without_its_network_is_the_same(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that was let go of is built again, to the same digests of what freezes."""
    monkeypatch.chdir(project.root)
    kept, released = (fine_tuning.FineTuning.read("head_only", work=Path(f"data/work/{at}")) for at in range(2))
    assert released.plan.epochs == kept.plan.epochs
    released.release_network()
    assert released.frozen == kept.frozen != {}
    assert released.identity == kept.identity


@pytest.mark.parametrize("asked", ["auto", "bfloat16"])
def test_mlflow_is_told_how_the_machine_computed(project: Project, tmp_path: Path, asked: str) -> None:
    """The run has what ``auto`` came to, as the record has: in which precision it trained, and what answered."""
    copy = project.copy(tmp_path / "clone")
    params = copy.params()
    params["strategies"]["head_only"] = params["strategies"]["head_only"] | {"precision": asked}
    copy.write_params(params)
    copy.steps("finetune@head_only")
    run = json.loads((copy.root / "data/runs/head_only/run.json").read_text())
    with copy.entered():
        hardware = fine_tuning.FineTuning.read("head_only").hardware
        logged = mlflow.MlflowClient().get_run(run["mlflow_run_id"]).data.params
    assert (run["engine"], run["precision"]) == (str(hardware.way), hardware.precision)
    assert (logged["engine"], logged["precision"]) == (run["engine"], run["precision"])
    assert asked in {"auto", run["precision"]}
