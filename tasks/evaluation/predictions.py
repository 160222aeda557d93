"""The table of predictions, checked by pandera at every door, and what it holds as arrays."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pandera.pandas as pa

from tasks.arrays import Floats, Integers

PREDICTIONS = pa.DataFrameSchema(
    {
        "strategy": pa.Column(str, pa.Check.str_length(min_value=1)),
        "repeat": pa.Column(str),
        "path": pa.Column(str),
        "label": pa.Column(str),
        "subset": pa.Column(str),
        "split": pa.Column(str, pa.Check.isin(("val", "test"))),
        "predicted": pa.Column(str),
        r"(?s)^p\[.*\]$": pa.Column(float, pa.Check.in_range(0, 1), regex=True),
    },
    checks=pa.Check(
        lambda table: (table.filter(regex=r"^p\[").sum(axis=1) - 1).abs() < 1e-4,
        error="probabilities that sum to one",
    ),
    unique=["strategy", "repeat", "path"],
    strict=True,
)


def table(
    strategy: str, rows: pd.DataFrame, probabilities: Floats, labels: Sequence[str], repeat: str = ""
) -> pd.DataFrame:
    """Return predictions for rows of the manifest; probabilities have shape (rows, labels)."""
    predicted = np.asarray(labels, dtype=object)[probabilities.argmax(axis=1)]
    columns = rows[["path", "label", "subset", "split"]].reset_index(drop=True)
    columns.insert(0, "strategy", pd.Series([strategy] * len(rows), dtype="str"))
    columns.insert(1, "repeat", pd.Series([repeat] * len(rows), dtype="str"))
    columns["predicted"] = pd.Series(predicted, dtype="str")
    return columns.assign(**probability_columns(probabilities, labels))


def probability_columns(probabilities: Floats, labels: Sequence[str]) -> dict[str, Floats]:
    """Return the columns of a table that hold probabilities of shape (rows, labels), by their names."""
    return {f"p[{label}]": probabilities[:, c] for c, label in enumerate(labels)}


def probabilities_of(predictions: pd.DataFrame, labels: Sequence[str]) -> Floats:
    """Return the probabilities of a table in the order of ``labels``, shape (rows, labels)."""
    return predictions[[f"p[{label}]" for label in labels]].to_numpy(dtype=np.float64)


def targets_of(rows: pd.DataFrame, labels: Sequence[str]) -> Integers:
    """Return the classes of a table with the column ``label`` by their places in ``labels``, shape (rows,)."""
    codes = {label: code for code, label in enumerate(labels)}
    return np.asarray(rows["label"].map(codes), dtype=np.int64)
