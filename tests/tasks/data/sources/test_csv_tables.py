"""Tables of text: whatever program wrote them, the same rows are read."""

import codecs
import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from tasks.data.sources import LabelledFile, find
from tasks.errors import UserError
from tasks.params import DataParams

ROWS = [("a.png", "cat"), ("b.png", "dog"), ("c d.png", "hot, spot")]
TEXT = st.text(st.sampled_from("abcxyzÄé日本01279-_.()+&=@ ,;|\t'\""), min_size=1, max_size=8)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be")


def written(rows: list[tuple[str, ...]], **dialect: Any) -> str:
    """Return a table as Python's csv module writes it."""
    stream = io.StringIO(newline="")
    csv.writer(stream, **dialect).writerows(rows)
    return stream.getvalue()


def listed(folder: Path, content: bytes, name: str = "mine.csv") -> list[LabelledFile]:
    """Return what a table lists."""
    (folder / name).write_bytes(content)
    return find(DataParams(source="manifest", path=str(folder / name)), folder).files


def notes(folder: Path, text: str) -> list[str]:
    """Return what is said of a table."""
    (folder / "mine.csv").write_text(text, newline="")
    return find(DataParams(source="manifest", path=str(folder / "mine.csv")), folder).notes


REGISTERED = st.fixed_dictionaries({"dialect": st.sampled_from(["excel", "excel-tab", "unix"])})
QUOTED = st.fixed_dictionaries(
    {
        "delimiter": st.sampled_from(",;\t|"),
        "quotechar": st.sampled_from("\"'%$"),
        "quoting": st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
        "lineterminator": st.sampled_from(["\n", "\r\n", "\r"]),
    }
)
ESCAPED = st.fixed_dictionaries(
    {
        "delimiter": st.sampled_from(",;\t|"),
        "quotechar": st.sampled_from("\"'"),
        "doublequote": st.just(False),
        "escapechar": st.just("\\"),
        "quoting": st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONE]),
        "lineterminator": st.sampled_from(["\n", "\r\n", "\r"]),
    }
)


@given(
    st.lists(st.tuples(TEXT, TEXT), min_size=2, max_size=5),
    st.one_of(REGISTERED, QUOTED, ESCAPED),
    st.sampled_from(ENCODINGS),
    st.sampled_from(["mine.csv", "mine.tsv", "mine.txt"]),
)
@example([("a,b", "it's"), ("c", '"x" or "y"')], {"dialect": "excel"}, "utf-16", "mine.tsv")
@example([("a'b", "it's; two"), ("c", "x")], {"delimiter": ";", "quotechar": "'"}, "utf-8", "mine.csv")
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_the_csv_module_writes_is_read(
    tmp_path: Path, rows: list[tuple[str, str]], dialect: dict[str, Any], encoding: str, name: str
) -> None:
    """The same files and labels as from the plainest table, in any dialect and encoding."""
    table = [("path", "label"), *((f"{i}{path}.png", f"{i}-{label}.") for i, (path, label) in enumerate(rows))]
    text = written(table, **dialect)
    read_back = {**dialect, "lineterminator": "\n"}
    if dialect.get("quoting") != csv.QUOTE_NONE:
        read_back["quoting"] = csv.QUOTE_MINIMAL
    assume(list(csv.reader(io.StringIO(text, newline=""), **read_back)) == [list(row) for row in table])
    plainest = listed(tmp_path, written(table).encode(), "plainest.csv")
    assert listed(tmp_path, text.encode(encoding), name) == plainest


@pytest.mark.parametrize(
    "text",
    [
        'path,label\na.png, "cat"\nb.png, "dog"\nc d.png, "hot, spot"\n',
        "path ; label\n'a.png'; 'cat'\n'b.png'; 'dog'\n'c d.png'; 'hot, spot'\n",
        "sep=;\r\npath;label\r\na.png;cat\r\nb.png;dog\r\nc d.png;hot, spot\r\n",
        '"sep=|"\npath|label\na.png|cat\nb.png|dog\nc d.png|hot, spot\n',
        ",path,label\n0,a.png,cat\n1,b.png,dog\n2,c d.png,'hot, spot'\n",
        "path,label\na.png,cat\nb.png,dog\nc d.png,hot\\, spot\n",
        "\n\npath\tlabel\na.png\tcat\nb.png\tdog\nc d.png\thot, spot",
        "path,label,\na.png,cat,\nb.png,dog,\nc d.png,'hot, spot',\n",
    ],
)
def test_what_other_programs_write_is_read(tmp_path: Path, text: str) -> None:
    """Blanks after separators, Excel's first line, an index, escapes, empty lines above the header."""
    assert [(file.path, file.label) for file in listed(tmp_path, text.encode())] == ROWS


def test_blank_rows_are_counted_and_rows_keep_their_numbers(tmp_path: Path) -> None:
    """Rows of separators alone are no images; a fault below them is where a spreadsheet shows it."""
    text = "path,label\na.png,cat\n,\n , \n\nb.png,dog\n"
    assert notes(tmp_path, text) == ["passed over 3 blank rows of mine.csv"]
    with pytest.raises(UserError, match=r"row 6 \('c.png'\): the label '' is empty"):
        listed(tmp_path, f"{text}c.png,\n".encode())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("path,label\na,x\nb,größer\n".encode("cp1252"), "line 3 has the byte 0xf6, 'ö' in Windows' own encoding"),
        ("path,label\ra,x\rb,größer\r".encode("cp1252"), "line 3 has the byte 0xf6"),
        (codecs.BOM_UTF16_LE + "path,label\na,x\n".encode("utf-16-le") + b"x", "begins as UTF-16-LE but is damaged"),
        (b"path,label\na,\x81\n", "line 2 has the byte 0x81: save it as UTF-8"),
    ],
)
def test_other_encodings_are_named_with_the_line(tmp_path: Path, content: bytes, expected: str) -> None:
    """The sentence has the first byte that can't be read, and what to do."""
    with pytest.raises(UserError) as caught:
        listed(tmp_path, content)
    assert expected in str(caught.value)
    assert "save it as UTF-8" in str(caught.value)


@pytest.mark.parametrize("quote", ['"', "'"])
def test_quotes_that_begin_late_in_a_long_table_are_found(tmp_path: Path, quote: str) -> None:
    """A dialect that the first rows don't show is told from the whole."""
    plain = "".join(f"a/long/folder/{i:05}.png,cat\n" for i in range(2600))
    text = f"path,label\n{plain}{quote}x, y.png{quote},dog\n"
    listing = listed(tmp_path, text.encode())
    assert len(listing) == 2601
    assert LabelledFile("x, y.png", "dog") in listing
