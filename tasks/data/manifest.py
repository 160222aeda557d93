"""The manifest: one row an image that is used; the quarantine: one row a file that isn't, with the reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors
from pyarrow.parquet import read_schema

from tasks.data.folds import NO_FOLD
from tasks.data.splits import SPLITS
from tasks.errors import UserError
from tasks.files import atomic_path
from tasks.params import SplitParams

SHA256 = r"[0-9a-f]{64}"
FOLDS = "folds"  # the manifest's attribute that says into how many folds strategies are validated on, one by one
KINDS = ("unreadable", "missing", "outside", "too large", "contradicted", "between splits", "leak")

MANIFEST = pa.DataFrameSchema(
    {
        "path": pa.Column(str, pa.Check.str_length(min_value=1), unique=True),
        "label": pa.Column(str, pa.Check.str_length(min_value=1)),
        "split": pa.Column(str, pa.Check.isin(SPLITS)),
        "fold": pa.Column("int64", pa.Check.ge(NO_FOLD)),
        "group": pa.Column(str),
        "subset": pa.Column(str),
        "weight": pa.Column(float, [pa.Check.ge(0), pa.Check.lt(float("inf"))]),
        "row": pa.Column("int64", pa.Check.ge(0), unique=True),
        "width": pa.Column("int64", pa.Check.gt(0)),
        "height": pa.Column("int64", pa.Check.gt(0)),
        "mode": pa.Column(str, pa.Check.str_length(min_value=1)),
        "format": pa.Column(str, pa.Check.str_length(min_value=1)),
        "animated": pa.Column(bool),
        "bytes": pa.Column("int64", pa.Check.gt(0)),
        "sha256": pa.Column(str, [pa.Check.str_matches(f"^{SHA256}$"), pa.Check.str_length(max_value=64)]),
    },
    strict=True,
    ordered=True,
)

QUARANTINE = pa.DataFrameSchema(
    {
        "path": pa.Column(str, unique=True),
        "label": pa.Column(str),
        "kind": pa.Column(str, pa.Check.isin(KINDS)),
        "reason": pa.Column(str, pa.Check.str_length(min_value=1)),
    },
    strict=True,
)

LEAKS = pa.DataFrameSchema(
    {
        "path": pa.Column(str),
        "split": pa.Column(str, pa.Check.isin(SPLITS)),
        "twin": pa.Column(str),
        "twin_split": pa.Column(str, pa.Check.isin(SPLITS)),
        "alike": pa.Column(float, pa.Check.in_range(0, 1)),
    },
    strict=True,
)


def validated(table: pd.DataFrame, schema: pa.DataFrameSchema, source: Path) -> pd.DataFrame:
    """Return ``table`` if it fits ``schema``.

    Raises:
        UserError: it doesn't; names the file, the column and up to three failing values.
    """
    try:
        valid: pd.DataFrame = schema.validate(table, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        column = next((c for c in cases["column"].dropna()), None) or cases["failure_case"].iloc[0]
        of_column = cases[cases["column"] == column] if (cases["column"] == column).any() else cases
        values = ", ".join(repr(value) for value in of_column["failure_case"].head(3))
        raise UserError(
            f"{source}: column '{column}' fails {of_column['check'].iloc[0]} ({len(cases)} failures in all, such as "
            f"{values}): make the file again with 'dvc repro'"
        ) from error
    return valid


def read_table(source: Path, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Read a parquet file and check it.

    Raises:
        UserError: the file is missing, is no parquet file, or doesn't fit the schema.
    """
    if not source.is_file():
        raise UserError(f"{source} does not exist: run 'dvc repro' to make it")
    try:
        table = pd.read_parquet(source)
    except (OSError, ValueError) as error:
        raise UserError(f"{source} is not a readable parquet file: remove it and run 'dvc repro'") from error
    return validated(table, schema, source)


def write_table(table: pd.DataFrame, schema: pa.DataFrameSchema, target: Path) -> None:
    """Check a table and write it as parquet, whole or not at all."""
    valid = validated(table, schema, target)
    with atomic_path(target) as temporary:
        valid.to_parquet(temporary, index=False)


def folds_in(source: Path) -> int:
    """Return how many folds of a manifest are validated on, one after the other; 0: the validation split alone is.

    Where there is no readable manifest it is 0, too: who reads the images says so.
    """
    try:
        attributes = (read_schema(source).pandas_metadata or {}).get("attributes", {})
    except (OSError, ValueError):
        return 0
    return int(attributes.get(FOLDS, 0))


@dataclass(frozen=True)
class EarlierPlaces:
    """Where images were before, by the digest of their files.

    Attributes:
        splits: ``train``, ``val`` or ``test``.
        folds: from 0; images that are held out for the test have none.
    """

    splits: Mapping[str, str] = field(default_factory=dict)
    folds: Mapping[str, int] = field(default_factory=dict)

    def folds_of(self, count: int) -> Mapping[str, int]:
        """Return the folds if there were so many; nothing if images were divided in another way."""
        return self.folds if self.folds and max(self.folds.values()) + 1 == count else {}


def split_settings(split: SplitParams) -> dict[str, Any]:
    """Return what of the params draws the splits; it is kept with the manifest."""
    return split.model_dump(include={"validation", "test", "seed"}) | {"folds": split.divisions or None}


def read_earlier(source: Path, split: SplitParams) -> EarlierPlaces:
    """Return where an earlier manifest has its images, if it was drawn by the same params; else nothing."""
    if not source.is_file():
        return EarlierPlaces()
    try:
        table = read_table(source, MANIFEST)
    except UserError:
        return EarlierPlaces()
    if table.attrs.get("split") != split_settings(split):
        return EarlierPlaces()
    in_folds = table[table["fold"] != NO_FOLD]
    splits = dict(zip(table["sha256"], table["split"], strict=True))
    folds = dict(zip(in_folds["sha256"], in_folds["fold"], strict=True))
    return EarlierPlaces(splits, folds)
