"""A run in a real MLflow store."""

from pathlib import Path

import pytest

from tasks import tracking


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a store."""
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture
def run_id(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run of its own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    return tracking.start_run(
        "test", {}, {}, tracking.DataIdentity("images", "photos", "digest"), tmp_path / "run.json"
    )
