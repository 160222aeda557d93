"""The table of predictions refuses what can't be one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.data.manifest import read_table, validated, write_table
from tasks.errors import UserError
from tasks.evaluation import predictions

LABELS = ["a [odd] name", "b"]
PROBABILITIES = np.array([[0.25, 0.75], [0.9, 0.1], [0.5, 0.5]])


@pytest.fixture
def table() -> pd.DataFrame:
    """Predictions of three images."""
    rows = pd.DataFrame(
        {
            "path": ["x.png", "y.png", "z.png"],
            "label": ["b", "a [odd] name", "b"],
            "subset": ["", "mono", ""],
            "split": ["val", "val", "test"],
        },
        index=[7, 3, 5],
    ).astype("str")
    return predictions.table("full", rows, PROBABILITIES, LABELS)


def test_a_table_holds_what_was_predicted(table: pd.DataFrame) -> None:
    """Rows keep their order, the answer is the likeliest class, and probabilities come back by label."""
    assert table["path"].tolist() == ["x.png", "y.png", "z.png"]
    assert table["predicted"].tolist()[:2] == ["b", "a [odd] name"]
    assert set(table["strategy"]) == {"full"}
    assert np.array_equal(predictions.probabilities_of(table, LABELS), PROBABILITIES)
    assert np.array_equal(predictions.probabilities_of(table, LABELS[::-1]), PROBABILITIES[:, ::-1])


def test_a_table_survives_the_disk(table: pd.DataFrame, tmp_path: Path) -> None:
    """What is written is what is read, to the last digit."""
    write_table(table, predictions.PREDICTIONS, tmp_path / "predictions.parquet")
    again = read_table(tmp_path / "predictions.parquet", predictions.PREDICTIONS)
    pd.testing.assert_frame_equal(again, table)


BROKEN: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "sum over one": lambda t: t.assign(**{"p[b]": t["p[b]"] + 0.01}),
    "sum under one": lambda t: t.assign(**{"p[b]": t["p[b]"] * 0.9}),
    "negative": lambda t: t.assign(**{"p[b]": -0.1, "p[a [odd] name]": 1.1}),
    "not a number": lambda t: t.assign(**{"p[b]": np.nan}),
    "unknown split": lambda t: t.assign(split="train"),
    "an image twice": lambda t: t.assign(path="x.png"),
    "no strategy": lambda t: t.assign(strategy=""),
    "another column": lambda t: t.assign(extra=1),
    "a missing column": lambda t: t.drop(columns="predicted"),
    "no probabilities": lambda t: t.drop(columns=["p[b]", "p[a [odd] name]"]),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_table_is_refused(table: pd.DataFrame, how: str) -> None:
    """Each way of being no table of predictions is an error that names the file."""
    validated(table, predictions.PREDICTIONS, Path("fine.parquet"))
    with pytest.raises(UserError, match=r"broken\.parquet"):
        validated(BROKEN[how](table), predictions.PREDICTIONS, Path("broken.parquet"))
