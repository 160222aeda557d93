"""The manifest and its companions: tables that come back as they were written, and are checked at the door."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.data import manifest
from tasks.data.manifest import KINDS, LEAKS, MANIFEST, QUARANTINE
from tasks.data.splits import SPLITS
from tasks.errors import UserError

ODD = ["yes", "no", "1", "001", "1.0", "1e3", "NA", "nan", "null", "None", "true", " led", "hot spot ", "a.b", "größer"]
TEXT = st.one_of(
    st.sampled_from([*ODD, "日本", "'", '"', "a,b", "x" * 300, "\t", "\n"]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
)
MAYBE = st.one_of(st.just(""), TEXT)
COUNT = st.integers(1, 2**62)
SPLIT = st.sampled_from(SPLITS)
MANIFEST_ROW = st.fixed_dictionaries(
    {
        "path": TEXT,
        "label": TEXT,
        "split": SPLIT,
        "fold": st.integers(-1, 99),
        "group": MAYBE,
        "subset": MAYBE,
        "weight": st.floats(0, 1e300),
        "row": st.integers(0, 2**62),
        "width": COUNT,
        "height": COUNT,
        "mode": TEXT,
        "format": TEXT,
        "animated": st.booleans(),
        "bytes": COUNT,
        "sha256": st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}"),
    }
)
QUARANTINE_ROW = st.fixed_dictionaries({"path": TEXT, "label": MAYBE, "kind": st.sampled_from(KINDS), "reason": TEXT})
LEAKS_ROW = st.fixed_dictionaries(
    {"path": TEXT, "split": SPLIT, "twin": TEXT, "twin_split": SPLIT, "alike": st.floats(0, 1)}
)
TYPES = {"fold": "int64", "row": "int64", "width": "int64", "height": "int64", "bytes": "int64", "animated": "bool"}
TYPES |= {"weight": "float64", "alike": "float64"}
Rows = list[dict[str, Any]]
SHARED_FOLDER = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)


def table_of(rows: Rows, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Return rows as a table with a schema's columns, of the types that the program gives them."""
    columns = list(schema.columns)
    return pd.DataFrame(rows, columns=columns).astype({name: TYPES.get(name, "str") for name in columns})


def rows(row: st.SearchStrategy[dict[str, Any]], *unique: str, least: int = 0) -> st.SearchStrategy[Rows]:
    """Several rows, no two with the same value in the columns that don't repeat."""
    keys = tuple((lambda row, name=name: row[name]) for name in unique)
    return st.lists(row, min_size=least, max_size=6, unique_by=keys or None)


TABLES = {
    "manifest": (MANIFEST, rows(MANIFEST_ROW, "path", "row")),
    "quarantine": (QUARANTINE, rows(QUARANTINE_ROW, "path")),
    "leaks": (LEAKS, rows(LEAKS_ROW)),
}


@pytest.mark.parametrize("name", TABLES)
@given(data=st.data())
@SHARED_FOLDER
def test_tables_come_back(tmp_path: Path, name: str, data: st.DataObject) -> None:
    """Whatever is in a table, empty or not: written and read, it is the same, to the type of each column."""
    schema, strategy = TABLES[name]
    table = table_of(data.draw(strategy), schema)
    table.attrs["split"] = {"seed": 3, "test": 0.1, "folds": None}
    target = tmp_path / f"{name}.parquet"
    manifest.write_table(table, schema, target)
    read = manifest.read_table(target, schema)
    pd.testing.assert_frame_equal(read, table)
    assert read.attrs == table.attrs
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


@given(labels=st.lists(TEXT, min_size=1, max_size=40))
@SHARED_FOLDER
def test_class_names_stay_text(tmp_path: Path, labels: list[str]) -> None:
    """A class's name is the same text after the manifest was written and read: no number, truth value or nothing."""
    table = table_of([valid_row(number, label) for number, label in enumerate(labels)], MANIFEST)
    manifest.write_table(table, MANIFEST, tmp_path / "manifest.parquet")
    assert manifest.read_table(tmp_path / "manifest.parquet", MANIFEST)["label"].tolist() == labels


def valid_row(number: int, label: str = "cat") -> dict[str, Any]:
    """Return a row of a manifest."""
    return {
        "path": f"{number}.png", "label": label, "split": "train", "fold": -1, "group": "", "subset": "", "weight": 1.0,
        "row": number, "width": 3, "height": 2, "mode": "L", "format": "PNG", "animated": False, "bytes": 9,
        "sha256": f"{number:064x}",
    }  # fmt: skip


VALID = {
    "manifest": table_of([valid_row(number) for number in range(4)], MANIFEST),
    "quarantine": table_of(
        [{"path": f"{number}", "label": "", "kind": "missing", "reason": "gone"} for number in range(4)], QUARANTINE
    ),
    "leaks": table_of(
        [{"path": "a", "split": "train", "twin": f"{number}", "twin_split": "val", "alike": 1} for number in range(4)],
        LEAKS,
    ),
}
WRONG: dict[str, dict[str, list[Any]]] = {
    "manifest": {
        "path": ["", "1.png", None],
        "label": ["", None],
        "split": ["validation", "", "Train", None],
        "fold": [-2],
        "group": [None],
        "subset": [None],
        "weight": [-0.5, float("nan"), float("inf")],
        "row": [-1, 1],
        "width": [0],
        "height": [-3],
        "mode": ["", None],
        "format": [""],
        "bytes": [0],
        "sha256": ["abc", "", "G" * 64, "0" * 65, "A" * 64, "0" * 64 + "\n"],
    },
    "quarantine": {"path": ["1", None], "label": [None], "kind": ["other", ""], "reason": ["", None]},
    "leaks": {
        "path": [None],
        "split": ["", "training"],
        "twin": [None],
        "twin_split": [""],
        "alike": [-0.1, 1.1, float("nan")],
    },
}
CASES = [
    (name, column, value) for name, columns in WRONG.items() for column, values in columns.items() for value in values
]


def refusals(table: pd.DataFrame, schema: pa.DataFrameSchema, folder: Path) -> list[str]:
    """Return the sentences that a table is refused with on reading and on writing; check that nothing is written."""
    source, target = folder / "damaged.parquet", folder / "new.parquet"
    table.to_parquet(source, index=False)
    with pytest.raises(UserError) as reading:
        manifest.read_table(source, schema)
    with pytest.raises(UserError) as writing:
        manifest.write_table(table, schema, target)
    assert not target.exists()
    assert str(source) in str(reading.value)
    assert str(target) in str(writing.value)
    return [str(reading.value), str(writing.value)]


@pytest.mark.parametrize(("name", "column", "value"), CASES)
@pytest.mark.parametrize("place", [0, 3])
def test_wrong_value_is_named(tmp_path: Path, name: str, column: str, value: Any, place: int) -> None:
    """One value that can't be is refused in one sentence, with the file and the column."""
    table = VALID[name].copy()
    table[column] = [value if row == place else old for row, old in enumerate(table[column])]
    assert not table.equals(VALID[name]) or table[column].duplicated().any()
    if not table[column].duplicated().any() and value in VALID[name][column].tolist():
        pytest.skip("the very value that is there")
    for said in refusals(table, TABLES[name][0], tmp_path):
        assert f"'{column}'" in said
        assert said.isprintable()


@pytest.mark.parametrize(("name", "column"), [(name, column) for name in VALID for column in VALID[name]])
@pytest.mark.parametrize("way", ["lacks", "is of another type", "is empty throughout"])
def test_broken_column_is_named(tmp_path: Path, name: str, column: str, way: str) -> None:
    """A column that is gone, or holds something else altogether, is named in one sentence."""
    table = VALID[name]
    if way == "lacks":
        table = table.drop(columns=column)
    elif way == "is empty throughout":
        table = table.assign(**{column: None})
    else:
        table = table.assign(**{column: np.arange(4.5, 8) if column not in {"weight", "alike"} else "text"})
    for said in refusals(table, TABLES[name][0], tmp_path):
        assert f"'{column}'" in said
        assert said.isprintable()


@pytest.mark.parametrize("name", VALID)
def test_further_column_is_named(tmp_path: Path, name: str) -> None:
    """A column that nobody knows, as of another version, is named."""
    for said in refusals(VALID[name].assign(colour="red"), TABLES[name][0], tmp_path):
        assert "'colour'" in said


def test_damage_shows_some_of_the_values(tmp_path: Path) -> None:
    """The message quotes the values that fail, but no more than three of them."""
    schema = pa.DataFrameSchema({"share": pa.Column(float, pa.Check.le(1))})
    with pytest.raises(UserError) as caught:
        manifest.validated(pd.DataFrame({"share": [0.5, *np.arange(2.0, 9.0)]}), schema, tmp_path / "t.parquet")
    said = str(caught.value)
    assert "7 failures" in said
    assert "2.0, 3.0, 4.0" in said
    assert "5.0" not in said


def test_missing_table_says_how_to_make_it(tmp_path: Path) -> None:
    """No manifest: the command to run is named."""
    with pytest.raises(UserError, match=r"manifest\.parquet does not exist: run 'dvc repro'"):
        manifest.read_table(tmp_path / "manifest.parquet", MANIFEST)


@pytest.mark.parametrize("content", [b"", b"path,label\na,b\n", b"PAR1 cut short"])
def test_file_that_is_no_parquet(tmp_path: Path, content: bytes) -> None:
    """Another file under the manifest's name is a sentence, not a traceback."""
    (tmp_path / "manifest.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"manifest\.parquet is not a readable parquet file"):
        manifest.read_table(tmp_path / "manifest.parquet", MANIFEST)


@given(st.data())
@SHARED_FOLDER
def test_damaged_bytes_are_one_sentence_at_most(tmp_path: Path, data: st.DataObject) -> None:
    """A file with some bytes changed or cut off is read, or refused in a sentence that names it; never a traceback."""
    source = tmp_path / "manifest.parquet"
    manifest.write_table(VALID["manifest"], MANIFEST, source)
    content = bytearray(source.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    source.write_bytes(content[: data.draw(st.integers(len(content) - 200, len(content)))])
    try:
        manifest.read_table(source, MANIFEST)
    except UserError as error:
        assert str(source) in str(error)  # noqa: PT017 - it may also be read
