"""A manifest of your own: a table with a row an image, read as text and checked by pandera."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from tasks.data.sources import csv_tables, parquet_tables, table_columns, table_paths
from tasks.data.sources.csv_tables import Rows
from tasks.data.sources.label_spelling import LabelCase, bare, clean_label, without_case
from tasks.data.sources.listing import ESCAPES, SPLIT_FOLDERS, Found, LabelledFile, escape
from tasks.data.sources.table_columns import KNOWN
from tasks.errors import NOTED, UserError, listed
from tasks.params import TABLES

AT_TOP = ("manifest.csv", "manifest.tsv", "manifest.parquet", "labels.csv")
HINTS = {".tsv": "\t", ".tab": "\t"}
SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers")
NO_TABLE = "submission"  # in the name of a table whose labels are made up


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
        "path": pa.Column(str, [_each(reason, partial(_stays_clear_of, reason)) for reason in ESCAPES]),
        "label": pa.Column(str, _each("is empty: give the image a class", lambda label: bool(clean_label(label)))),
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
    """Return the manifest that lies in a folder: under one of its usual names, or the only one with paths and labels.

    The latter is passed by where the folder has folders that are called like its labels.
    """
    usual = next((folder / name for name in AT_TOP if (folder / name).is_file()), None)
    if usual is not None or not folder.is_dir():
        return usual
    found = _with_labels(folder)
    return found[0] if len(found) == 1 and not _has_class_folders(folder, found[0]) else None


def must_be_told(path: Path) -> None:
    """Check that it is clear which table is to be read: a path of no table and no folder passes.

    Raises:
        UserError: it is a spreadsheet; or a folder with several tables, with one that can't be used, with classes as
            folders beside it, or with a spreadsheet.
    """
    if path.is_dir():
        if at_top(path) is not None:
            return
        found = _with_labels(path) or _tables_in(path)
        if len(found) > 1:
            names = listed([table.name for table in found], NOTED)
            raise UserError(f"{path} has several tables ({names}): write the one to be read as data.path")
        for table in found:
            find(table)
            raise UserError(
                f"{path} has folders that are called like the classes of {table.name}: write 'source: folder' for "
                f"them, or 'path: {table}' for the table"
            )
    inside = sorted(path.iterdir()) if path.is_dir() else [path]
    sheet = next((file for file in inside if file.suffix.lower() in SPREADSHEETS and file.is_file()), None)
    if sheet is not None:
        raise UserError(f"{sheet} is a spreadsheet, which is not read: save it as CSV ('CSV UTF-8') beside the images")


def find(source: Path, case: LabelCase = "join") -> Found:
    """Return the files that a manifest lists, and what was understood of it.

    Args:
        source: the table, or the folder that it lies in.
        case: whether labels that differ in case alone are the same.

    Raises:
        UserError: the table can't be read, lacks a column, or has a value that can't be used; names the row.
    """
    alone = []
    if source.is_dir():
        source = at_top(source) or source
        if source.name not in AT_TOP:
            alone = [f"read {source.name}: the only table of {source.parent} with paths and labels"]
    table, notes = _known(_rows(source), source)
    table["split"] = table["split"].map(clean_label)
    table["weight"] = table["weight"].map(bare)
    placed = table_paths.place(source.parent, table["path"].tolist(), table.index.tolist(), source)
    table["path"] = placed.paths
    _check(table, source)
    splits = set(table["split"].str.lower())
    if "" not in splits and not any(SPLIT_FOLDERS[split] == "train" for split in splits):
        raise UserError(f"{source} has the splits {', '.join(sorted(splits))} but no row of train: add some")
    once = _without_repetitions(table, source, case)
    if len(once) < len(table):
        more = len(table) - len(once)
        notes.append(f"left out {more} {'row' if more == 1 else 'rows'} of {source.name}: the same as another one")
    passed_over, note = table_paths.unlisted(source.parent, once["path"])
    files = [_file(row) for row in once.to_dict("records")]
    return Found(source.parent, files, passed_over, [*alone, *notes, *placed.notes, *note])


def _file(row: dict[Any, Any]) -> LabelledFile:
    return LabelledFile(
        path=row["path"],
        label=row["label"],
        group=row["group"],
        subset=row["subset"],
        split=SPLIT_FOLDERS.get(row["split"].lower(), ""),
        weight=float(row["weight"] or 1),
    )


def _hint(source: Path) -> str:
    return HINTS.get(source.suffix.lower(), ",")


def _rows(source: Path) -> Rows:
    return (
        parquet_tables.read(source) if source.suffix.lower() == ".parquet" else csv_tables.read(source, _hint(source))
    )


def _header(source: Path) -> list[str]:
    return (
        parquet_tables.header(source)
        if source.suffix.lower() == ".parquet"
        else csv_tables.header(source, _hint(source))
    )


def _with_labels(folder: Path) -> list[Path]:
    """Return the tables in a folder that have paths and labels, or else those with paths and columns of 0 and 1."""
    headers = {path: _header(path) for path in _tables_in(folder)}
    found = [path for path, names in headers.items() if table_columns.has_needed(names)]
    return found or [path for path, names in headers.items() if table_columns.has_path(names) and _is_usable(path)]


def _is_usable(table: Path) -> bool:
    try:
        _known(_rows(table), table)
    except UserError:
        return False
    return True


def _tables_in(folder: Path) -> list[Path]:
    files = (path for path in folder.iterdir() if path.suffix.lower() in TABLES and path.suffix.lower() != ".txt")
    return sorted(path for path in files if path.is_file() and NO_TABLE not in path.name and path.name[0] != ".")


def _has_class_folders(folder: Path, table: Path) -> bool:
    """Return whether folders in a folder, or in those, are called like labels of a table."""
    folders = {clean_label(path.name).casefold() for path in (*folder.glob("*/"), *folder.glob("*/*/"))}
    if not folders:
        return False
    try:
        known, _ = _known(_rows(table), table)
    except UserError:
        return False
    return not folders.isdisjoint(clean_label(label).casefold() for label in known["label"].unique())


def _known(rows: Rows, source: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return the known columns alone, those that are left out filled in, and notes on what was taken for them."""
    chosen = table_columns.choose(rows.header, source)
    marked = None
    if not rows.cells and "label" in chosen.places:
        raise UserError(f"{source} has no rows: give each image one")
    if "label" not in chosen.places:
        marked = table_columns.classes_marked(rows.header, rows.cells, chosen, source) if rows.cells else None
        if marked is None:
            raise table_columns.missing("label", rows.header, source)
    if source.suffix.lower() == ".parquet":
        for place in chosen.places.values():
            parquet_tables.must_hold_text(source, rows.header[place])
    found = {
        column: [row[chosen.places[column]] for row in rows.cells]
        if column in chosen.places
        else [""] * len(rows.cells)
        for column in KNOWN
    }
    notes = [*rows.notes, *chosen.notes]
    if marked is not None:
        found["label"], note = marked
        notes.append(note)
    return pd.DataFrame(found, index=pd.Index(rows.numbers, dtype="int64"), dtype="str"), notes


def _without_repetitions(table: pd.DataFrame, source: Path, case: LabelCase) -> pd.DataFrame:
    """Return a table in which every path is listed once.

    Raises:
        UserError: rows of the same path say different things of it.
    """
    again = table["path"].duplicated(keep=False)
    if not again.any():
        return table
    fold = without_case if case == "join" else str
    for path, rows in table[again].groupby("path", sort=False):
        for column in KNOWN[1:]:
            said = rows[column].map(clean_label).map(fold)
            other = said[said != said.iloc[0]]
            if len(other):
                one, two = rows.index[0], other.index[0]
                values = f"{rows[column].iloc[0]!a} and {rows.loc[two, column]!a}"
                raise UserError(
                    f"{source}: rows {one} and {two}: the path {path!a} is in the manifest twice, with the {column}s "
                    f"{values}: keep one row"
                )
    return table.drop_duplicates("path")


def _check(table: pd.DataFrame, source: Path) -> None:
    try:
        SCHEMA.validate(table, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases.sort_values("index", kind="stable")
        first = cases.iloc[0]
        more = f" ({len(cases) - 1} more like it)" if len(cases) > 1 else ""
        row = f"row {int(first['index'])} ({table.loc[first['index'], 'path']!a})"
        raise UserError(
            f"{source}: {row}: the {first['column']} {str(first['failure_case'])!a} {first['check']}{more}"
        ) from error
