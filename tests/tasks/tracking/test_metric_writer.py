"""The history of a training, in a real MLflow store."""

import threading

import mlflow
import pytest

from tasks import tracking
from tasks.errors import UserError

ROWS = [{"epoch": float(epoch), "val_loss": 1.0 / (epoch + 1), "learning_rate": 0.1} for epoch in range(250)]


def test_every_row_is_logged_once_at_its_epoch(run_id: str) -> None:
    """When the block has ended, the store has all rows, and no thread is left."""
    with tracking.history(run_id) as log:
        for row in ROWS:
            log(row)
    logged = mlflow.MlflowClient().get_metric_history(run_id, "epoch/val_loss")
    assert sorted((metric.step, metric.value) for metric in logged) == [(row["epoch"], row["val_loss"]) for row in ROWS]
    assert not any(thread.name == "history" for thread in threading.enumerate())


def test_rows_before_an_error_are_kept(run_id: str) -> None:
    """A training that fails leaves the history that it had."""

    def fail() -> None:
        with tracking.history(run_id) as log:
            log(ROWS[0])
            raise KeyError("training")

    with pytest.raises(KeyError, match="training"):
        fail()
    assert len(mlflow.MlflowClient().get_metric_history(run_id, "epoch/val_loss")) == 1


def test_a_run_that_is_deleted_meanwhile_is_one_sentence(run_id: str) -> None:
    """Rows that can't be logged end the block with what happened and what to do."""

    def train() -> None:
        with tracking.history(run_id) as log:
            mlflow.MlflowClient().delete_run(run_id)
            log(ROWS[0])

    with pytest.raises(UserError, match=r"was deleted meanwhile .*run the same command again"):
        train()
