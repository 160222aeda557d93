"""A manifest of your own: a table with a row an image, read as text and checked by pandera."""

import csv
import difflib
import math
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa
import pyarrow as arrow
from pandera.errors import SchemaErrors
from pyarrow import parquet

from tasks.data.sources.listing import ESCAPES, SPLIT_FOLDERS, LabelledFile, escape, plain
from tasks.errors import UserError, nearest
from tasks.params import TABLES

DELIMITERS = {".csv": ",", ".tsv": "\t"}
AT_TOP = ("manifest.csv", "manifest.tsv", "manifest.parquet", "labels.csv")
NEEDED = ("path", "label")
OPTIONAL = ("split", "group", "subset", "weight")
MISSPELT = 0.85
LONGEST = 1 << 20


def _is_weight(text: str) -> bool:
    try:
        weight = float(text)
    except ValueError:
        return False
    return math.isfinite(weight) and weight >= 0


def _stays_clear_of(reason: str, path: str) -> bool:
    return escape(path) != reason


def _each(check: str, of: Callable[[str], bool]) -> pa.Check:
    """Return a check of every value, with what to say of those that fail."""
    return pa.Check(of, element_wise=True, error=check)


SCHEMA = pa.DataFrameSchema(
    {
        "path": pa.Column(str, [_each(reason, partial(_stays_clear_of, reason)) for reason in ESCAPES], unique=True),
        "label": pa.Column(str, _each("is empty: give the image a class", bool)),
        "split": pa.Column(
            str,
            _each(
                f"is none of {', '.join(SPLIT_FOLDERS)}: correct it, or leave it empty to have the split drawn",
                lambda split: not split or split.lower() in SPLIT_FOLDERS,
            ),
        ),
        "group": pa.Column(str),
        "subset": pa.Column(str),
        "weight": pa.Column(str, _each("is no number of 0 or more", lambda text: not text or _is_weight(text))),
    },
    index=pa.Index("int64"),
)


def is_table(path: Path) -> bool:
    """Return whether a file's name is that of a table."""
    return path.suffix.lower() in TABLES


def at_top(folder: Path) -> Path | None:
    """Return the manifest that lies in a folder under one of its usual names."""
    return next((folder / name for name in AT_TOP if (folder / name).is_file()), None)


def files(source: Path) -> list[LabelledFile]:
    """Return the files that a manifest lists.

    Raises:
        UserError: the table can't be read, lacks a column, or has a value that can't be used; names the row.
    """
    table = _known(_read_parquet(source) if source.suffix.lower() == ".parquet" else _read_text(source), source)
    for column in ("split", "weight"):
        table[column] = table[column].str.strip()
    table["path"] = [plain(path) if path else "" for path in table["path"]]
    _check(table, source)
    splits = set(table["split"].str.lower())
    if "" not in splits and not any(SPLIT_FOLDERS[split] == "train" for split in splits):
        raise UserError(f"{source} has the splits {', '.join(sorted(splits))} but no row of train: add some")
    rows: list[dict[Any, Any]] = table.to_dict("records")
    return [
        LabelledFile(
            path=row["path"],
            label=row["label"],
            group=row["group"],
            subset=row["subset"],
            split=SPLIT_FOLDERS.get(row["split"].lower(), ""),
            weight=float(row["weight"] or 1),
        )
        for row in rows
    ]


def _read_text(source: Path) -> pd.DataFrame:
    csv.field_size_limit(LONGEST)
    try:
        with source.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=DELIMITERS[source.suffix.lower()], strict=True)
            header = next(reader, [])
            rows = []
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise UserError(
                        f"{source}: line {reader.line_num} has {len(cells)} values for {len(header)} columns: put "
                        "quotes around values that have a separator in them"
                    )
                rows.append(cells)
    except UnicodeDecodeError as error:
        raise UserError(f"{source} is not UTF-8 text: save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise UserError(f"{source}: line {reader.line_num} is no valid CSV ({error}): correct its quotes") from error
    return _frame(header, zip(*rows, strict=True) if rows else [()] * len(header))


def _read_parquet(source: Path) -> pd.DataFrame:
    try:
        table = parquet.read_table(source)
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{source} is not a readable parquet file: write it again") from error
    known = [name for name in table.column_names if name.strip().lower() in (*NEEDED, *OPTIONAL)]
    other = [name for name in table.column_names if name not in known]
    content = {name: [_text(value) for value in table.column(name).to_pylist()] for name in dict.fromkeys(known)}
    if len(set(known)) < len(known):
        raise UserError(f"{source} has a column twice: keep one")
    return _frame([*known, *other], [*content.values(), *([""] * table.num_rows for _ in other)])


def _text(value: object) -> str:
    """Return a value of parquet as text; what is missing is empty."""
    return "" if value is None or value != value else str(value)  # noqa: PLR0124 - NaN


def _frame(header: list[str], columns: Iterable[Iterable[str]]) -> pd.DataFrame:
    """Return a table whose rows are counted from 1 and whose columns keep their place, even under the same name."""
    table = pd.DataFrame(dict(enumerate(map(list, columns))), dtype="str")
    table.columns = pd.Index(header, dtype="str")
    table.index = pd.RangeIndex(1, len(table) + 1)
    return table


def _known(table: pd.DataFrame, source: Path) -> pd.DataFrame:
    """Return the known columns alone, those that are left out filled in."""
    names = [str(name).strip() for name in table.columns]
    lowered = [name.lower() for name in names]
    for column in (*NEEDED, *OPTIONAL):
        if lowered.count(column) > 1:
            raise UserError(f"{source} has the column '{column}' twice: keep one")
    for column in NEEDED:
        if column not in lowered:
            others = [name for name in names if name.lower() not in NEEDED]
            raise UserError(f"{source} has no column '{column}'{nearest(column, others)}: name it '{column}'")
    unknown = [name for name in names if name.lower() not in (*NEEDED, *OPTIONAL)]
    for column in OPTIONAL:
        close = difflib.get_close_matches(column, unknown, n=1, cutoff=MISSPELT)
        if column not in lowered and close:
            raise UserError(f"{source} has a column '{close[0]}', which is not read: name it '{column}' or remove it")
    if table.empty:
        raise UserError(f"{source} has no rows: give each image one")
    found = {
        column: table.iloc[:, lowered.index(column)].tolist() if column in lowered else [""] * len(table)
        for column in (*NEEDED, *OPTIONAL)
    }
    return pd.DataFrame(found, index=table.index, dtype="str")


def _check(table: pd.DataFrame, source: Path) -> None:
    try:
        SCHEMA.validate(table, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases.sort_values("index", kind="stable")
        first = cases.iloc[0]
        what = "is in the manifest twice: keep one row" if first["check"] == "field_uniqueness" else first["check"]
        more = f" ({len(cases) - 1} more like it)" if len(cases) > 1 else ""
        row = f"row {int(first['index'])} ({table.loc[first['index'], 'path']!a})"
        raise UserError(
            f"{source}: {row}: the {first['column']} {str(first['failure_case'])!a} {what}{more}"
        ) from error
