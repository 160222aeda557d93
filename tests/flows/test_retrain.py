"""The scheduled retraining: skipped, promoted, refused, rolled back, on the same small project."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from flows.retrain import retrain
from tasks.params import load_params
from tasks.runs.challenge import Contender, contest
from tasks.runs.prepared import PreparedData
from tasks.tracking import registry
from tests.support.batches import write_batches
from tests.support.project import Project, make_project, without_models
from tests.support.results import aliases, must, tracked_runs
from tests.support.servers import shared_prefect

CONFIDENCE = 0.9
PERSON = {f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project in which nothing has run, over an empty folder."""
    made = make_project(tmp_path_factory.mktemp("retrain") / "clone", tmp_path_factory.mktemp("watched"))
    params = made.params()
    params["strategies"] = {"head_only": {"train": "head", "solver": "lbfgs"}}
    params["retrain"] = {
        "min_images": 15, "part_images": 8, "confidence": CONFIDENCE, "max_slowdown": 5, "commit": True
    }  # fmt: skip
    made.write_params(params)
    yield made
    shutil.rmtree(made.root)


@pytest.fixture(scope="module")
def driven(project: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """How three retrainings end: on the first images, on those of a new class besides, and on wrongly labelled ones."""
    folder = tmp_path_factory.mktemp("batches")
    write_batches(folder)
    events: list[list[str]] = []

    def heard(name: str, resource: dict[str, str], payload: object) -> None:
        events.append([name, resource["prefect.resource.name"]])

    with (
        project.entered(PREFECT_API_URL=shared_prefect(), **PERSON),
        mock.patch("flows.retrain.emit_event", heard),
        without_models(),
    ):
        ends = {name: retrained(project, folder / name) for name in ("first", "of_a_new_class", "swapped")}
    return {"events": events, "ends": ends}


def retrained(project: Project, batch: Path) -> dict[str, Any]:
    """Put a batch of images into the folder, retrain, and return how it ended.

    One batch is for the champion's strategy alone, while the params have another one, too.
    """
    params = project.params()
    shutil.copytree(batch, params["data"]["path"], dirs_exist_ok=True)
    only_champion = batch.name == "of_a_new_class"
    if only_champion:
        project.write_params(params | {"strategies": {"other": {"train": "head"}} | params["strategies"]})
    state: Any = retrain(only_champion=only_champion, return_state=True)
    project.write_params(params)
    record, compared = (
        json.loads((project.root / f"data/reports/{name}.json").read_text()) for name in ("retrain", "comparison")
    )
    return {
        "name": state.name,
        "message": state.message,
        "aliases": {alias: registry.version_of(alias) for alias in ("champion", "previous", "challenger")},
        "record": record,
        "strategies": list(compared["strategies"]),
    }


def test_the_first_winner_becomes_champion(driven: dict[str, Any]) -> None:
    """Where there is no champion, there is nothing to beat."""
    end = driven["ends"]["first"]
    assert end["name"] == "Promoted"
    assert end["aliases"] == {"champion": "1", "previous": "", "challenger": ""}


def test_what_new_images_help_is_promoted(driven: dict[str, Any]) -> None:
    """The challenger, by the champion's strategy, knows a class that the champion can't answer, and is better."""
    end = driven["ends"]["of_a_new_class"]
    assert end["strategies"] == ["head_only"], "the other strategy has not run"
    assert end["name"] == "Promoted", end["message"]
    assert end["aliases"] == {"champion": "2", "previous": "1", "challenger": ""}
    record = end["record"]
    metric = next(check for check in record["ruling"]["checks"] if check["kind"] == "metric")
    assert metric["challenger"] > metric["champion"]
    assert record["ruling"]["images"] >= 15
    assert record["data"] != record["data_before"]
    assert record["left_out"] == 0, "images stay in their split, so that the champion has seen none of the test's"
    assert any("unlike those that the champion knows" in warning for warning in record["warnings"])


def test_images_with_swapped_labels_are_refused(driven: dict[str, Any]) -> None:
    """The champion stays, whatever the new images say of it; why is in the record."""
    end = driven["ends"]["swapped"]
    assert end["name"] == "Refused", end["message"]
    assert end["aliases"] == {"champion": "2", "previous": "1", "challenger": "3"}
    assert end["record"]["reason"] in end["message"]
    assert not end["record"]["ruling"]["promote"]


def test_automations_hear_of_it(driven: dict[str, Any]) -> None:
    """An event a decision, named after it."""
    assert driven["events"] == [
        ["thawline.champion.promoted", "version 1"],
        ["thawline.champion.promoted", "version 2"],
        ["thawline.champion.refused", "version 2"],
    ]


def test_decisions_are_kept_with_the_versions_and_tracked(project: Project, driven: dict[str, Any]) -> None:
    """MLflow has the reason with each version, and a run with the figures of the gate and of the drift."""
    with sqlite3.connect(project.root / "mlflow.db") as database:
        rows = database.execute("SELECT version, value FROM model_version_tags WHERE key = 'thawline.decision'")
        decisions = {str(version): value for version, value in rows}
        described = dict(database.execute("SELECT version, description FROM model_versions").fetchall())
        runs = database.execute("SELECT run_uuid, status FROM runs WHERE name = 'retrain'").fetchall()
        metrics = {key for (key,) in database.execute("SELECT DISTINCT key FROM latest_metrics")}
    assert decisions == {"1": "promoted", "2": "promoted", "3": "refused"}
    assert driven["ends"]["swapped"]["record"]["reason"] in described[3]
    assert [status for _, status in runs] == ["FINISHED"] * 3
    assert {"gate/champion_auroc", "gate/challenger_auroc", "drift/distance", "drift/p_value"} <= metrics


def test_what_the_champion_has_seen_is_left_out(
    project: Project, driven: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """As after other split params, by which images that it was trained on are in the test split."""
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.root / 'mlflow.db'}")
    data, params = PreparedData.read(), load_params().data
    champion, tested = Contender.read("2"), data.rows("test")
    assert not champion.origin.seen & set(tested["sha256"])
    assert len(champion.origin.tested & set(tested["sha256"])) > 20
    apart = tested[tested["group"] == ""]["sha256"]
    knowing = replace(champion, origin=replace(champion.origin, seen=frozenset(apart[:10])))
    held = contest(knowing, Contender.read("3"), data, params)
    assert held.left_out == 10
    assert len(held.answered.targets) == len(tested) - 10
    asked = held.answered.parts
    assert asked["the earlier test images"].sum() + asked["the new test images"].sum() == len(tested) - 10


def test_every_retraining_is_committed(project: Project, driven: dict[str, Any]) -> None:
    """``dvc.lock`` with the decision as the message, as the params ask for, and nothing else of the repository."""
    subjects = project.run("git", "log", "--format=%s", "--", "dvc.lock").stdout.splitlines()
    assert [subject.split(": ", 1)[1] for subject in subjects[::-1]] == [
        end["message"] for end in driven["ends"].values()
    ]
    files = project.run("git", "ls-files").stdout.split()
    assert sorted(files) == ["data/runs/head_only/metrics.json", "dvc.lock"]


def test_where_nothing_is_new_nothing_is_done(project: Project, driven: dict[str, Any]) -> None:
    """A folder that stayed as it was leaves no trace, also after a refusal."""
    record = (project.root / "data/reports/retrain.json").read_bytes()
    runs = tracked_runs(project)
    assert "no new data" in must(project.here("flows.retrain", PREFECT_API_URL=shared_prefect()))
    assert tracked_runs(project) == runs
    assert (project.root / "data/reports/retrain.json").read_bytes() == record


def test_rolling_back_is_one_command(project: Project, driven: dict[str, Any]) -> None:
    """Champion and previous swap, and swap again."""
    done = project.here("flows.retrain", "--rollback")
    assert "version 1 is champion again" in must(done)
    assert aliases(project) == {"champion": "1", "previous": "2", "challenger": "3"}
