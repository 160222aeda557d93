"""Several networks: every strategy on each that is kept, the others left out, by either door."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tasks.errors import UnavailableError, UserError
from tasks.steps.backbone import backbone
from tests.support.golden import light
from tests.support.project import STRATEGIES, Project
from tests.support.results import (
    is_up_to_date,
    must,
    read_comparison,
    stages_run_by_dvc,
    stages_run_by_flow,
    tracked_runs,
)
from tests.support.servers import shared_prefect

SMALL = {"name": "mobilenet_v3_small", "weights": "none"}
LARGE = {"name": "resnet18", "weights": "none"}
MOST_PARAMETERS = 5_000_000  # more than the small ones have
KEPT = {f"{network}/{name}" for network in ("shufflenet_v2_x0_5", "small") for name in STRATEGIES}


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that had one network, and was run with three, one of which is too large; no test may change it."""
    project = light().copy(tmp_path_factory.mktemp("several") / "clone")
    params = project.params()
    params["backbones"] = {"small": SMALL | {"strategies": {"scratch": {"lr": 0.001}}}, "large": LARGE}
    params["screen"] = {"keep": 2, "max_parameters": MOST_PARAMETERS}
    project.write_params(params)
    candidates = [f"candidate@{network}-{name}" for network in params["backbones"] for name in STRATEGIES]
    project.steps("networks", "network@small", "network@large", "screen", "probe", "race", *candidates, "compare")
    must(project.run("dvc", "commit", "-f"))
    return project


def run_of(project: Project, candidate: str) -> dict[str, Any]:
    """Return what a candidate recorded of itself."""
    content: dict[str, Any] = json.loads((project.root / f"data/runs/{candidate}/run.json").read_text())
    return content


def test_every_strategy_on_every_kept_network_is_compared(several: Project) -> None:
    """Under the name of both; the champion's network is the one that the comparison records."""
    comparison = read_comparison(several)
    assert set(comparison.strategies) == KEPT
    assert {one.network: one.kept for one in comparison.screening.networks} == {
        "shufflenet_v2_x0_5": True, "small": True, "large": False,
    }  # fmt: skip
    names = {"shufflenet_v2_x0_5": "shufflenet_v2_x0_5", "small": "mobilenet_v3_small"}
    assert comparison.backbone["name"] == names[comparison.leader.network]
    assert all(name == f"{result.network}/{name.partition('/')[2]}" for name, result in comparison.strategies.items())
    assert comparison.strategies["small/scratch"].params["lr"] == 0.001
    assert "ms an image" in (several.root / "data/reports/comparison.html").read_text()


def test_the_backbone_is_fine_tuned_as_if_it_were_alone(several: Project) -> None:
    """Its candidates were made before there were others, and nothing of them has changed."""
    for name in STRATEGIES:
        file = f"data/runs/{name}/model.safetensors"
        assert (several.root / file).read_bytes() == (light().root / file).read_bytes()
        assert run_of(several, name)["mlflow_run_id"] == run_of(light(), name)["mlflow_run_id"]


def test_who_is_left_out_says_why(several: Project) -> None:
    """In place of its outputs, and nothing of it is in MLflow."""
    for name in STRATEGIES:
        assert "screen.max_parameters" in run_of(several, f"large/{name}")["left_out"]
    assert not [name for name, _, _ in tracked_runs(several).values() if name.startswith("large")]


def test_mlflow_knows_network_and_strategy(several: Project) -> None:
    """As params of every new run."""
    with closing(sqlite3.connect(several.root / "mlflow.db")) as database:
        asked = "SELECT key, value FROM params WHERE key IN ('network', 'strategy') AND run_uuid = ?"
        for name in STRATEGIES:
            run_id = run_of(several, f"small/{name}")["mlflow_run_id"]
            assert dict(database.execute(asked, (run_id,))) == {"network": "small", "strategy": name}


def test_both_doors_agree_that_nothing_is_left(several: Project) -> None:
    """What DVC has run the flow skips, left out or not."""
    assert is_up_to_date(several)
    done = several.here("flows.compare", PREFECT_API_URL=shared_prefect())
    must(done)
    assert stages_run_by_flow(done) == []
    assert is_up_to_date(several)


def test_an_edited_network_makes_its_own_candidates_stale(several: Project, tmp_path: Path) -> None:
    """And no others'."""
    project = several.copy(tmp_path / "clone")
    params = project.params()
    params["backbones"]["small"]["lr"] = 0.01
    project.write_params(params)
    stale = set(stages_run_by_dvc(project.run("dvc", "repro", "--dry")))
    tuned = {stage for stage in stale if stage.startswith(("finetune@", "candidate@"))}
    assert tuned == {f"candidate@small-{name}" for name in STRATEGIES}
    assert {stage for stage in stale if stage.startswith(("network@", "backbone"))} == {"network@small"}


def test_networks_that_cannot_be_had(tmp_path: Path) -> None:
    """One that is optional is left out, with the reason; any other is an error; so is one of a wrong name."""
    project = light().copy(tmp_path / "clone")
    params = project.params()
    params["backbones"] = {"maybe": SMALL | {"optional": True}, "needed": SMALL}
    project.write_params(params)
    with project.entered(), mock.patch("tasks.backbones.weights.retrieve", side_effect=UnavailableError("no source")):
        assert backbone("maybe").left_out == "no source"
        with pytest.raises(UnavailableError, match="no source"):
            backbone("needed")
        with pytest.raises(UserError, match="no network 'need' \\(did you mean 'needed'"):
            backbone("need")


def test_without_any_network_left_there_is_one_sentence(several: Project, tmp_path: Path) -> None:
    """That names each and why."""
    project = several.copy(tmp_path / "clone")
    params = project.params()
    params["screen"] = {"max_parameters": 1}
    project.write_params(params)
    done = project.here("tasks", "screen")
    assert done.returncode == 2
    assert "no network is left to fine-tune (shufflenet_v2_x0_5: left out: " in done.stderr.splitlines()[-1]


@pytest.mark.system
def test_dvc_runs_what_an_edited_network_needs(several: Project, tmp_path: Path) -> None:
    """Another network under the name of one that was too large: it is fetched, screened, raced and compared."""
    project = several.copy(tmp_path / "clone")
    params = project.params()
    params["backbones"]["large"] = {"name": "squeezenet1_1", "weights": "none"}
    params["screen"] = {"keep": 3}
    project.write_params(params)
    ran = stages_run_by_dvc(project.run("dvc", "repro"))
    tuned = [f"candidate@large-{name}" for name in STRATEGIES]
    assert set(ran) == {"networks", "network@large", "screen", "probe", "race", *tuned, "compare"}
    assert {f"large/{name}" for name in STRATEGIES} < set(read_comparison(project).strategies)
    assert is_up_to_date(project)


def test_a_network_larger_than_the_memory_is_refused(several: Project, tmp_path: Path) -> None:
    """Before it is trained, with what it would take and what there is."""
    project = several.copy(tmp_path / "clone")
    with (
        mock.patch("tasks.runs.screening.psutil.virtual_memory", return_value=mock.Mock(available=1)),
        mock.patch("torch.cuda.is_available", return_value=False),
    ):
        done = project.here("tasks", "screen")
    assert done.returncode == 2
    assert "network shufflenet_v2_x0_5: " in done.stderr.splitlines()[-1]
    assert "are free: leave it out" in done.stderr.splitlines()[-1]
