"""Runs that died, and runs that a server made twice."""

from pathlib import Path
from typing import Any

import mlflow
import pytest

from tasks import tracking

DATA = tracking.DataIdentity("images", "photos", "digest")


def test_a_run_whose_end_nobody_told_is_ended_by_the_next(run_id: str, tmp_path: Path) -> None:
    """A record names the run before; other records are other runs."""
    other = tracking.start_run("other", {}, {}, DATA, tmp_path / "other.json")
    following = tracking.start_run("test", {}, {}, DATA, tmp_path / "run.json")
    assert [status_of(run) for run in (run_id, other, following)] == ["FAILED", "RUNNING", "RUNNING"]
    tracking.finish(following)
    tracking.start_run("test", {}, {}, DATA, tmp_path / "run.json")
    assert status_of(following) == "FINISHED"


def test_a_run_made_twice_is_one(run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that made a run and died before it said so is asked again; the first one is no run that goes on."""
    made: list[Any] = []
    create = mlflow.MlflowClient.create_run

    def twice(*args: Any, **kwargs: Any) -> Any:
        made.extend(create(*args, **kwargs) for _ in range(2))
        return made[-1]

    monkeypatch.setattr(mlflow.MlflowClient, "create_run", twice)
    started = tracking.start_run("test", {}, {}, DATA, tmp_path / "twice.json")
    assert [status_of(run.info.run_id) for run in made] == ["FAILED", "RUNNING"]
    assert started == made[-1].info.run_id


def status_of(run_id: str) -> str:
    """Return a run's status."""
    status: str = mlflow.MlflowClient().get_run(run_id).info.status
    return status
