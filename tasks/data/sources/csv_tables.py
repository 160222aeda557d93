"""A table that is text: its encoding, separator and quotes are found out, and its rows read as text."""

import codecs
import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from tasks.data.sources import csv_dialects
from tasks.data.sources.csv_dialects import Dialect
from tasks.data.sources.table_rows import TableRows, notes_on_blank_rows
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


def read(source: Path, usual_separator: str) -> TableRows:
    """Read a table of text.

    Args:
        source: the file.
        usual_separator: what files of its name separate values by, which is tried first.

    Raises:
        UserError: it is in no encoding that is known, or a row has too many or too few values; names the line.
    """
    text = _text(source)
    body, separators = _body(text, usual_separator)
    skipped = _count_lines(text[: len(text) - len(body)])
    try:
        dialect = csv_dialects.likeliest(_whole_lines(body, SAMPLE), separators)
        return _rows(source, body, dialect, skipped)
    except UserError:
        if len(body) <= SAMPLE:
            raise
        dialect = csv_dialects.likeliest(_whole_lines(body, LARGE_SAMPLE), separators)
        return _rows(source, body, dialect, skipped)


def read_header(source: Path, usual_separator: str) -> list[str]:
    """Return the names of a table's columns; none if it can't be read."""
    try:
        with source.open("rb") as stream:
            start = stream.read(SAMPLE)
        text = start.decode(_encoding(start), errors="replace")
    except (OSError, UserError):
        return []
    body, separators = _body(text, usual_separator)
    dialect = csv_dialects.likeliest(_first_lines(body), separators)
    with_content = (cells for cells in dialect.reader(io.StringIO(body, newline=""), strict=False) if any(cells))
    try:
        return next(with_content, [])
    except csv.Error:
        return []


def _body(text: str, usual_separator: str) -> tuple[str, tuple[str, ...]]:
    """Return a table without Excel's line on its separator, and the separator that it names, or those that may be."""
    separator_line = EXCELS_OWN.match(text)
    if separator_line:
        return text[separator_line.end() :], (separator_line[1],)
    return text, csv_dialects.separators(text, usual_separator)


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
        line = _count_lines(content[: error.start].decode()) + 1
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


def _count_lines(text: str) -> int:
    return len(re.findall(r"\r\n|\r|\n", text))


def _rows(source: Path, text: str, dialect: Dialect, skipped: int) -> TableRows:
    """Read a table's rows; ``skipped`` lines stand before it."""
    csv.field_size_limit(LONGEST)
    reader = dialect.reader(io.StringIO(text, newline=""))
    header: list[str] = []
    cells: list[list[str]] = []
    numbers: list[int] = []
    number = 0
    try:
        for row in reader:
            if not header:
                header = row if _has_content(row) else []
                continue
            number += 1
            if not _has_content(row):
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
    return TableRows(header, cells, numbers, notes_on_blank_rows(number - len(cells), source))


def _has_content(row: Sequence[str]) -> bool:
    return any(cell and not cell.isspace() for cell in row)
