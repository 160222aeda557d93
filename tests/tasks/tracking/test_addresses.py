"""Addresses of stores that can't be used."""

import re
import sys

import pytest

from tasks import tracking
from tasks.errors import UserError


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ann:se/c@ret@db/runs",
        "postgresql+psycopg2://db/runs?user=ann&password=se/c@ret",
        "ftp://ann:se/c@ret@db/runs",
    ],
)
def test_a_database_s_password_is_not_shown(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Whatever is wrong with an address, the sentence has neither user nor password."""
    monkeypatch.setattr("tasks.tracking.addresses.SECONDS_TO_REACH", 0.1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(UserError, match=r"MLflow's store|MLFLOW_TRACKING_URI") as caught:
        tracking.experiment_id()
    assert "ret" not in str(caught.value).replace("retr", "")
    assert ("pip install -e '.[servers]'" in str(caught.value)) == address.startswith("postgresql")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:5000", "write http://127.0.0.1:5000"),
        ("localhost:5000/", "write http://localhost:5000/"),
        ("http:/localhost:5000", "names no server"),
        ("http://:5000", "names no server"),
        ("htp://localhost:5000", "a kind that MLflow doesn't know"),
        ("postgres://somebody:secret@db/mlflow", "a kind that MLflow doesn't know"),
        ("mlruns", "names a folder"),
        ("file:///tmp/mlruns", "names a folder"),
        ("sqlite:/mlflow.db", "names no file"),
        ("postgresql://somebody:secret@127.0.0.1:1/mlflow", "no database server answers there (Connection refused)"),
    ],
)
def test_addresses_that_are_none(address: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence says what to write, or start; no password is in it."""
    monkeypatch.setattr("tasks.tracking.addresses.SECONDS_TO_REACH", 0.1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(UserError, match=re.escape(expected)) as error:
        tracking.experiment_id()
    assert "secret" not in str(error.value)
