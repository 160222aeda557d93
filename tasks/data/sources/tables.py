"""A manifest of your own: a table with a row an image, read as text and checked by pandera."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from tasks.data.sources import table_discovery, table_paths
from tasks.data.sources.file_names import PATH_PROBLEMS, path_problem
from tasks.data.sources.label_spelling import LabelCase, casefolded, clean_label, stripped
from tasks.data.sources.listing import LabelledFile, SourceListing
from tasks.data.sources.split_names import SPLIT_FOLDERS
from tasks.data.sources.table_columns import KNOWN
from tasks.data.sources.table_reading import read_known_columns
from tasks.errors import NOTED, UserError, listed
from tasks.wording import counted

SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers")


def _is_weight(text: str) -> bool:
    try:
        weight = float(text)
    except ValueError:
        return False
    return math.isfinite(weight) and weight >= 0


def _has_not(problem: str, path: str) -> bool:
    return path_problem(path) != problem


def _each(check: str, of: Callable[[str], bool]) -> pa.Check:
    """Return a check of every value, with what to say of those that fail."""
    return pa.Check(of, element_wise=True, error=check)


SCHEMA = pa.DataFrameSchema(
    {
        "path": pa.Column(str, [_each(problem, partial(_has_not, problem)) for problem in PATH_PROBLEMS]),
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


def must_be_unambiguous(path: Path) -> None:
    """Check that it is clear which table is to be read: a path of no table and no folder passes.

    Raises:
        UserError: it is a spreadsheet; or a folder with several tables, with one that can't be used, with classes as
            folders beside it, or with a spreadsheet.
    """
    if path.is_dir():
        if table_discovery.manifest_in(path) is not None:
            return
        tables = table_discovery.candidates_in(path)
        if len(tables) > 1:
            names = listed([table.name for table in tables], NOTED)
            raise UserError(f"{path} has several tables ({names}): write the one to be read as data.path")
        if tables:
            find(tables[0])  # raises where the table is the reason
            raise UserError(
                f"{path} has folders that are called like the classes of {tables[0].name}: write 'source: folder' for "
                f"them, or 'path: {tables[0]}' for the table"
            )
    inside = sorted(path.iterdir()) if path.is_dir() else [path]
    sheet = next((file for file in inside if file.suffix.lower() in SPREADSHEETS and file.is_file()), None)
    if sheet is not None:
        raise UserError(f"{sheet} is a spreadsheet, which is not read: save it as CSV ('CSV UTF-8') beside the images")


def find(source: Path, case: LabelCase = "join") -> SourceListing:
    """List the files of a manifest.

    Args:
        source: the table, or the folder that it lies in.
        case: whether labels that differ in case alone are the same.

    Raises:
        UserError: the table can't be read, lacks a column, or has a value that can't be used; names the row.
    """
    notes = []
    if source.is_dir():
        source = table_discovery.manifest_in(source) or source
        if source.name not in table_discovery.USUAL_NAMES:
            notes.append(f"read {source.name}: the only table of {source.parent} with paths and labels")
    table, column_notes = read_known_columns(source)
    notes += column_notes
    table["split"] = table["split"].map(clean_label)
    table["weight"] = table["weight"].map(stripped)
    matched = table_paths.match_paths(source.parent, table["path"].tolist(), table.index.tolist(), source)
    table["path"] = matched.paths
    _check(table, source)
    unique = _without_repetitions(table, source, case)
    if len(unique) < len(table):
        repeated = counted(len(table) - len(unique), "rows")
        notes.append(f"left out {repeated} of {source.name}: the same as another one")
    unlisted = table_paths.unlisted_images(source.parent, unique["path"])
    files = [_file(row) for row in unique.to_dict("records")]
    notes += [*matched.notes, *table_paths.notes_on_unlisted(unlisted)]
    return SourceListing(source.parent, files, unlisted, notes)


def _file(row: dict[Any, Any]) -> LabelledFile:
    return LabelledFile(
        path=row["path"],
        label=row["label"],
        group=row["group"],
        subset=row["subset"],
        split=SPLIT_FOLDERS.get(row["split"].lower(), ""),
        weight=float(row["weight"] or 1),
    )


def _without_repetitions(table: pd.DataFrame, source: Path, case: LabelCase) -> pd.DataFrame:
    """Return a table in which every path is listed once.

    Raises:
        UserError: rows of the same path say different things of it.
    """
    again = table["path"].duplicated(keep=False)
    if not again.any():
        return table
    fold = casefolded if case == "join" else str
    for path, rows in table[again].groupby("path", sort=False):
        for column in KNOWN[1:]:
            values = rows[column].map(clean_label).map(fold)
            differing = values[values != values.iloc[0]]
            if len(differing):
                first, second = rows.index[0], differing.index[0]
                pair = f"{rows[column].iloc[0]!a} and {rows.loc[second, column]!a}"
                raise UserError(
                    f"{source}: rows {first} and {second}: the path {path!a} is in the manifest twice, with the "
                    f"{column}s {pair}: keep one row"
                )
    return table.drop_duplicates("path")


def _check(table: pd.DataFrame, source: Path) -> None:
    """Check the values of a table.

    Raises:
        UserError: one can't be used; names the row. Or no row is trained on.
    """
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
    splits = set(table["split"].str.lower())
    if "" not in splits and not any(SPLIT_FOLDERS[split] == "train" for split in splits):
        raise UserError(f"{source} has the splits {', '.join(sorted(splits))} but no row of train: add some")
