"""A table of any format, read as text: its known columns, and what was taken for them."""

from pathlib import Path

import pandas as pd

from tasks.data.sources import csv_tables, parquet_tables
from tasks.data.sources.table_columns import KNOWN, choose_columns, missing_column, one_hot_classes
from tasks.data.sources.table_rows import TableRows
from tasks.errors import UserError

SEPARATORS = {".tsv": "\t", ".tab": "\t"}  # that the name of a file speaks for; of all others the comma


def read_header(source: Path) -> list[str]:
    """Return the names of a table's columns; none if it can't be read."""
    if _is_parquet(source):
        return parquet_tables.read_header(source)
    return csv_tables.read_header(source, _usual_separator(source))


def read_known_columns(source: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return the known columns alone, those that are left out filled in, and notes on what was taken for them.

    Returns:
        Columns ``KNOWN`` of text, under the numbers of the rows; sentences.

    Raises:
        UserError: the table can't be read, has no rows, or lacks a path or a class.
    """
    rows = _read_rows(source)
    chosen = choose_columns(rows.header, source)
    if not rows.cells and "label" in chosen.places:
        raise UserError(f"{source} has no rows: give each image one")
    marked = None
    if "label" not in chosen.places:
        marked = one_hot_classes(rows.header, rows.cells, chosen, source) if rows.cells else None
        if marked is None:
            raise missing_column("label", rows.header, source)
    if _is_parquet(source):
        for place in chosen.places.values():
            parquet_tables.must_hold_text(source, rows.header[place])
    columns = {column: _values(rows, chosen.places.get(column)) for column in KNOWN}
    notes = [*rows.notes, *chosen.notes]
    if marked is not None:
        columns["label"], note = marked
        notes.append(note)
    return pd.DataFrame(columns, index=pd.Index(rows.numbers, dtype="int64"), dtype="str"), notes


def _read_rows(source: Path) -> TableRows:
    return parquet_tables.read(source) if _is_parquet(source) else csv_tables.read(source, _usual_separator(source))


def _values(rows: TableRows, place: int | None) -> list[str]:
    """Return the values of a column; empty ones where the table has no such column."""
    return [""] * len(rows.cells) if place is None else [row[place] for row in rows.cells]


def _is_parquet(source: Path) -> bool:
    return source.suffix.lower() == ".parquet"


def _usual_separator(source: Path) -> str:
    return SEPARATORS.get(source.suffix.lower(), ",")
