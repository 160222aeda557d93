"""What stands in a table, whatever its format: rows of text."""

from dataclasses import dataclass, field
from pathlib import Path

from tasks.wording import counted


@dataclass(frozen=True)
class TableRows:
    """What stands in a table.

    Attributes:
        header: names of the columns.
        cells: of each row, as many as there are columns; blank rows are left out.
        numbers: of the rows, counted from 1 below the header, blank ones too.
        notes: sentences on how the table was understood.
    """

    header: list[str]
    cells: list[list[str]]
    numbers: list[int]
    notes: list[str] = field(default_factory=list)


def notes_on_blank_rows(count: int, source: Path) -> list[str]:
    """Return a sentence on rows without any content, if there are such."""
    return [f"passed over {counted(count, 'blank rows')} of {source.name}"] if count else []
