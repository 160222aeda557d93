"""The registered model."""

import re

import pytest

from tasks.tracking.registry import champion_uri


@pytest.mark.parametrize("name", ["team/solar", "a:b", "plain"])
def test_a_registered_model_may_be_called_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the experiment is called, the name of its model is one that MLflow takes, in an address, too."""
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", name)
    assert re.fullmatch(r"models:/[^/:]+@champion", champion_uri())
