"""A table that is text: its encoding, separator and quotes are found out, and its rows read as text."""

import codecs
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.data.sources import csv_dialects
from tasks.data.sources.csv_dialects import Dialect
from tasks.errors import UserError

LONGEST = 1 << 20  # characters of a value
SAMPLE = 1 << 16  # characters of a long table that its dialect is told from
LARGE_SAMPLE = 1 << 22  # where these don't do
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
EXCELS_OWN = re.compile(r"[\"']?sep=(.)[\"']?[^\S\r\n]*(?:\r\n|\r|\n|$)")


@dataclass(frozen=True)
class Rows:
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


def read(source: Path, hint: str) -> Rows:
    """Read a table of text.

    Args:
        source: the file.
        hint: the separator that its name speaks for.

    Raises:
        UserError: it is in no encoding that is known, or a row has too many or too few values; names the line.
    """
    text = _text(source)
    told = EXCELS_OWN.match(text)
    body = text[told.end() :] if told else text
    skipped = _lines(text[: told.end()]) if told else 0
    separators = (told[1],) if told else csv_dialects.separators(body, hint)
    try:
        return _rows(source, body, csv_dialects.likeliest(_whole_lines(body, SAMPLE), separators), skipped)
    except UserError:
        if len(body) <= SAMPLE:
            raise
        return _rows(source, body, csv_dialects.likeliest(_whole_lines(body, LARGE_SAMPLE), separators), skipped)


def header(source: Path, hint: str) -> list[str]:
    """Return the names of a table's columns; none if it can't be read."""
    try:
        with source.open("rb") as stream:
            start = stream.read(SAMPLE)
        text = start.decode(_encoding(start), errors="replace")
    except (OSError, UserError):
        return []
    told = EXCELS_OWN.match(text)
    body = text[told.end() :] if told else text
    dialect = csv_dialects.likeliest(_first_lines(body), (told[1],) if told else csv_dialects.separators(body, hint))
    with_content = (cells for cells in dialect.reader(io.StringIO(body, newline=""), strict=False) if any(cells))
    try:
        return next(with_content, [])
    except csv.Error:
        return []


def _first_lines(text: str) -> str:
    return "".join(text.splitlines(keepends=True)[:20])


def _whole_lines(text: str, length: int) -> str:
    """Return the first lines of a text, up to a length."""
    if len(text) <= length:
        return text
    return text[: 1 + max(text.rfind("\n", 0, length), text.rfind("\r", 0, length))]


def _text(source: Path) -> str:
    content = source.read_bytes()
    encoding = _encoding(content)
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        if not encoding.startswith("utf-8"):
            raise UserError(f"{source} begins as {encoding.upper()} but is damaged: save it as UTF-8") from error
        line = _lines(content[: error.start].decode()) + 1
        byte = content[error.start : error.start + 1]
        likely = byte.decode("cp1252", errors="replace")
        meant = f", '{likely}' in Windows' own encoding (cp1252)" if likely.isprintable() and likely != "\ufffd" else ""
        raise UserError(
            f"{source} is not UTF-8 text: line {line} has the byte 0x{byte.hex()}{meant}: save it as UTF-8 "
            "('CSV UTF-8' in Excel)"
        ) from error


def _encoding(content: bytes) -> str:
    """Return the encoding that a mark at the start says; without one UTF-16 by its zero bytes, else UTF-8."""
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return encoding
    start = content[:1000]
    first, second = start[::2].count(0), start[1::2].count(0)
    if second >= 4 and second > 4 * first:
        return "utf-16-le"
    if first >= 4 and first > 4 * second:
        return "utf-16-be"
    return "utf-8"


def _lines(text: str) -> int:
    return len(re.findall(r"\r\n|\r|\n", text))


def _rows(source: Path, text: str, dialect: Dialect, skipped: int) -> Rows:
    """Read a table's rows; ``skipped`` lines stand before it."""
    csv.field_size_limit(LONGEST)
    reader = dialect.reader(io.StringIO(text, newline=""))
    header: list[str] = []
    cells: list[list[str]] = []
    numbers: list[int] = []
    number = blank = 0
    try:
        for row in reader:
            if not header:
                header = row if _has_content(row) else []
                continue
            number += 1
            if not _has_content(row):
                blank += 1
                continue
            if len(row) != len(header):
                raise UserError(
                    f"{source}: line {skipped + reader.line_num} has {len(row)} values for {len(header)} columns: put "
                    "quotes around values that have a separator in them"
                )
            cells.append(row)
            numbers.append(number)
    except csv.Error as error:
        line = skipped + reader.line_num
        raise UserError(f"{source}: line {line} is no valid CSV ({error}): correct its quotes") from error
    return Rows(header, cells, numbers, [f"passed over {_counted(blank)} of {source.name}"] if blank else [])


def _has_content(row: Sequence[str]) -> bool:
    return any(cell and not cell.isspace() for cell in row)


def _counted(blank: int) -> str:
    return f"{blank} blank row" + ("" if blank == 1 else "s")
