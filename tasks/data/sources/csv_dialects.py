"""How a table of text is written: its separator, quotes and escapes, found out from its content."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.data.sources import table_columns

USUAL = (",", ";", "\t", "|")
TRIED = 4  # unusual quotes and escapes
BACKSLASH = "\\"
LINE_END = re.compile(r"\r\n|\r|\n|\Z")


@dataclass(frozen=True)
class Dialect:
    """What separates values, surrounds and escapes them.

    Attributes:
        separator: between values.
        quote: around values; None where none is special.
        escape: before a character that is not special; None where there is none.
        skips: whether blanks after a separator don't count, as before a quote.
    """

    separator: str
    quote: str | None = '"'
    escape: str | None = None
    skips: bool = False

    def reader(self, lines: Iterable[str], *, strict: bool = True) -> Any:
        """Return the standard library's reader."""
        return csv.reader(
            lines,
            delimiter=self.separator,
            quotechar=self.quote,
            escapechar=self.escape,
            quoting=csv.QUOTE_NONE if self.quote is None else csv.QUOTE_MINIMAL,
            skipinitialspace=self.skips,
            strict=strict,
        )


def separators(text: str, first: str) -> tuple[str, ...]:
    """Return the separators under which the first line has the columns that are needed; else the likeliest one.

    Args:
        text: of a table.
        first: the separator that is tried first.
    """
    line = next((line for line in text.splitlines() if not line.isspace()), "")
    usual = tuple(dict.fromkeys([first, *USUAL]))
    unusual = tuple(c for c in dict.fromkeys(line) if not (c.isalnum() or c in "_-\"'\\."))
    around: tuple[str, ...] = ()
    for suits in (table_columns.has_needed, table_columns.has_path):
        for tried in (usual, unusual):
            suited = tuple(c for c in tried if c in line and suits(line.split(c)))
            between = tuple(c for c in suited if not (line.startswith(c) and line.endswith(c)))
            if between:
                return between
            around = around or suited
    if around:
        return around
    try:
        return (csv.Sniffer().sniff(text[:10_000], "".join(USUAL)).delimiter,)
    except csv.Error:
        return (first,)


def likeliest(text: str, separators: Sequence[str]) -> Dialect:
    """Return the dialect that explains a table best: every row has a value a column, written as the dialect writes it.

    Of several that do so, one whose quotes and escapes are used for something wins; then the usual one.
    """
    usual = [dialect for separator in separators for dialect in _usual(text, separator)]
    best = min(usual, key=lambda dialect: _faults(text, dialect))
    return min([best, *_unusual(text, best.separator)], key=lambda dialect: _faults(text, dialect))


def _usual(text: str, separator: str) -> Iterator[Dialect]:
    for quote in ('"', "'", None):
        for escape in (None, BACKSLASH):
            if ((quote or '"') in text or quote == '"') and (escape is None or escape in text):
                yield _dialect(text, separator, quote, escape)


def _unusual(text: str, separator: str) -> list[Dialect]:
    """Return dialects with other quotes, which begin and end values, and escapes, which precede what is special."""
    edge = f"[{re.escape(separator)}\\r\\n]"
    first = Counter(re.findall(rf"(?:^|{edge})([^\w\s])", text))
    last = set(re.findall(rf"([^\w\s])(?={edge}|\Z)", text))
    known = {separator, *"\"'./-", BACKSLASH}
    quotes = [c for c, _ in first.most_common() if c in last and c.isprintable() and c not in known][:TRIED]
    before = Counter(re.findall(rf"([^\w\s])(?={edge}|[{re.escape(''.join(quotes))}\"'])", text))
    escapes = [c for c, _ in before.most_common() if c.isprintable() and c not in known][:TRIED]
    return [
        _dialect(text, separator, quote, escape)
        for quote in (*quotes, '"', "'")
        for escape in (None, BACKSLASH, *escapes)
        if (quote in quotes or escape in escapes) and quote != escape and (escape is None or escape in text)
    ]


def _dialect(text: str, separator: str, quote: str | None, escape: str | None) -> Dialect:
    skips = separator != " " and quote is not None and re.search(rf"{re.escape(separator)} +{re.escape(quote)}", text)
    return Dialect(separator, quote, escape, skips=bool(skips))


def _faults(text: str, dialect: Dialect) -> tuple[int, int, int]:
    """Return how badly a dialect suits: rows that don't fit the header, rows it would not write so, what it lacks."""
    odd, used = _oddities(text, dialect)
    return _misfits(text, dialect), odd, -used


def _misfits(text: str, dialect: Dialect) -> int:
    """Return the rows with more or fewer values than the header, and those after one that can't be read."""
    reader = dialect.reader(io.StringIO(text, newline=""))
    header, misfits = 0, 0
    try:
        for row in reader:
            if any(row):
                header = header or len(row)
                misfits += len(row) != header
                if dialect.quote is None and any(c.startswith('"') for c in row) and "".join(row).count('"') % 2:
                    misfits += _count_lines(text)  # a quote that isn't closed is a mistake to be named
    except csv.Error:
        misfits += max(1, _count_lines(text) - reader.line_num)
    return misfits


def _count_lines(text: str) -> int:
    return len(text.splitlines())


def _oddities(text: str, dialect: Dialect) -> tuple[int, int]:
    """Return how many rows a writer of the dialect would have written otherwise, and how much of its means is used."""
    quote, escape = dialect.quote or "", dialect.escape
    odd = 0
    header_is_quoted = doubled = escaped = False
    for number, (values, is_whole) in enumerate(_written(text, dialect)):
        inside = [value["quoted"] for value in values]
        odd += not is_whole
        header_is_quoted |= number == 0 and len(values) > 1 and None not in inside
        doubled |= any(quote * 2 in quoted for quoted in inside if quoted is not None)
        escaped |= escape is not None and any(escape in value[0] for value in values)
    quotes = 2 * header_is_quoted + doubled
    return odd, quotes + (escaped and _tells(text, dialect, are_quotes_used=quotes > 0))


def _tells(text: str, dialect: Dialect, *, are_quotes_used: bool) -> bool:
    """Return whether an escape in a table speaks for the dialect: signs may stand before others by chance, too."""
    if dialect.escape != BACKSLASH or dialect.quote not in {'"', "'"}:
        return False
    if f"{BACKSLASH}{dialect.quote}" in text:
        return True
    return are_quotes_used != (dialect.quote == '"')


def _written(text: str, dialect: Dialect) -> Iterator[tuple[list[re.Match[str]], bool]]:
    """Yield the values of each row as they are written, and whether the row ends behind them."""
    cell, place = _cell(dialect), 0
    while place < len(text):
        values = list(_values(cell, text, place, dialect.separator))
        place = values[-1].end()
        end = LINE_END.match(text, place)
        yield values, end is not None
        place = (end or LINE_END.search(text, place) or values[-1]).end()


def _values(cell: re.Pattern[str], text: str, place: int, separator: str) -> Iterator[re.Match[str]]:
    while value := cell.match(text, place):
        yield value
        if not text.startswith(separator, value.end()):
            return
        place = value.end() + 1


def _cell(dialect: Dialect) -> re.Pattern[str]:
    """Return a pattern of one value as a writer of the dialect writes it, with ``quoted`` for what is inside quotes."""
    separator, quote, escape = (re.escape(c or "") for c in (dialect.separator, dialect.quote, dialect.escape))
    escaped = f"|{escape}(?:[{separator}{quote}{escape}\\n]|\\r(?!\\n))" if escape else ""
    plain = f"(?:[^{separator}{quote}{escape}\\r\\n]{escaped})*+"
    if not quote:
        return re.compile(f"(?P<quoted>(?!))?{plain}")
    inside = f"[^{quote}{escape}]|{quote}{quote}" + (f"|{escape}[{quote}{escape}]" if escape else "")
    blanks = " *" if dialect.skips else ""
    return re.compile(f"(?:{blanks}{quote}(?P<quoted>(?:{inside})*+){quote}(?={separator}|[\\r\\n]|\\Z)|{plain})")
