"""A table in parquet: its values read as text."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as arrow
from pyarrow import parquet, types

from tasks.data.sources.table_columns import KNOWN
from tasks.data.sources.table_rows import TableRows, notes_on_blank_rows
from tasks.errors import UserError


def read(source: Path) -> TableRows:
    """Read a table; what is missing is empty, and whole numbers are written without a fraction.

    Raises:
        UserError: it can't be read, or has a column twice.
    """
    try:
        table = parquet.read_table(source)
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{source} is not a readable parquet file: write it again") from error
    if len(set(table.column_names)) < len(table.column_names):
        raise UserError(f"{source} has a column twice: keep one")
    columns, notes = [], []
    for name in table.column_names:
        values = table.column(name)
        if types.is_nested(values.type):
            columns.append([""] * table.num_rows)
            continue
        numbers = values.to_pylist()
        is_whole = types.is_floating(values.type) and _are_whole(numbers)
        columns.append([_text(value, is_whole=is_whole) for value in numbers])
        if is_whole and name.strip().lower() in KNOWN and name.strip().lower() != "weight":
            notes.append(f"wrote the numbers in the column '{name}' of {source.name} without a fraction: 1 for 1.0")
    cells = [list(row) for row in zip(*columns, strict=True)]
    with_content = [place for place, row in enumerate(cells) if any(cell.strip() for cell in row)]
    notes += notes_on_blank_rows(len(cells) - len(with_content), source)
    return TableRows(
        list(table.column_names), [cells[place] for place in with_content], [place + 1 for place in with_content], notes
    )


def read_header(source: Path) -> list[str]:
    """Return the names of a table's columns; none if it can't be read."""
    try:
        return list(parquet.read_schema(source).names)
    except (arrow.ArrowException, OSError, ValueError):
        return []


def must_hold_text(source: Path, column: str) -> None:
    """Check that a column's values can be written as text.

    Raises:
        UserError: each of them is made of several, such as an image and its name.
    """
    kind = parquet.read_schema(source).field(column).type
    if types.is_nested(kind):
        raise UserError(
            f"{source}: the column '{column}' holds {kind}, not text: write the images as files, and a table with the "
            "path and the label of each"
        )


def _are_whole(values: Iterable[Any]) -> bool:
    return all(math.isfinite(value) and value == int(value) for value in values if value is not None and value == value)  # noqa: PLR0124 - NaN


def _text(value: Any, *, is_whole: bool) -> str:
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="backslashreplace")
    return str(int(value)) if is_whole else str(value)
