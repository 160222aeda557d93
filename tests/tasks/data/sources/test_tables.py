"""A manifest of your own: what its rows become, and how what can't be used is named."""

import csv
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tasks.data.sources import LabelledFile, find
from tasks.data.sources.label_spelling import casefolded, clean_label, stripped
from tasks.errors import UserError
from tasks.params import DataParams

NO_SURROGATES = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
LABELS = st.one_of(
    st.sampled_from(["yes", "no", "1", "2", "001", "1.0", "NA", "nan", "null", "true", "hot spot", "größer", "日本"]),
    st.text(NO_SURROGATES, min_size=1, max_size=20),
)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=20)


def write(folder: Path, rows: list[dict[str, Any]], name: str = "manifest.csv") -> Path:
    """Write rows as a table of the kind that its name says."""
    target = folder / name
    if target.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(target)
        return target
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if target.suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)
    return target


def files_of(source: Path) -> list[LabelledFile]:
    """Return what a manifest lists."""
    return find(DataParams(source="manifest", path=str(source)), source.parent).files


def refusal(source: Path) -> str:
    """Return the one sentence that a manifest is refused with."""
    with pytest.raises(UserError) as caught:
        files_of(source)
    assert str(caught.value).isprintable()
    return str(caught.value)


def refused_rows(folder: Path, *rows: dict[str, Any]) -> str:
    """Return the sentence that rows are refused with, put after two that are right."""
    right = [{"path": "a.png", "label": "cat"}, {"path": "b.png", "label": "dog"}]
    columns = dict.fromkeys(key for row in (*right, *rows) for key in row)
    return refusal(write(folder, [{key: row.get(key, "") for key in columns} for row in (*right, *rows)]))


@pytest.mark.parametrize("name", ["mine.csv", "mine.tsv", "mine.parquet"])
def test_every_column_is_read(tmp_path: Path, name: str) -> None:
    """Path, label, split, group, subset and weight arrive; other columns don't matter; the files are sorted."""
    rows = [
        {
            "path": "b/2.png",
            "label": "dog",
            "split": "valid",
            "group": "p2",
            "subset": "",
            "weight": "0.5",
            "by": "Ann",
        },
        {"path": "./a//1.png", "label": "cat", "split": "TRAIN", "group": "", "subset": "x", "weight": "", "by": "Bob"},
    ]
    assert files_of(write(tmp_path, rows, name)) == [
        LabelledFile("a/1.png", "cat", subset="x", split="train"),
        LabelledFile("b/2.png", "dog", group="p2", split="val", weight=0.5),
    ]


def test_paths_are_relative_to_the_manifest(tmp_path: Path) -> None:
    """The root of what is found is the manifest's folder, which may also be given in its place."""
    write(tmp_path, [{"path": "a.png", "label": "x"}, {"path": "b.png", "label": "y"}], "labels.csv")
    for path in (tmp_path, tmp_path / "labels.csv"):
        assert find(DataParams(source="manifest", path=str(path)), tmp_path / "work").root == tmp_path


def test_values_of_parquet_become_text(tmp_path: Path) -> None:
    """Numbers and truth values are labels by their names; what is missing is empty."""
    rows = [
        {"path": "a.png", "label": 1, "group": None, "weight": 2.0},
        {"path": "b.png", "label": 2, "group": "g", "weight": float("nan")},
    ]
    assert files_of(write(tmp_path, rows, "m.parquet")) == [
        LabelledFile("a.png", "1", weight=2.0),
        LabelledFile("b.png", "2", group="g"),
    ]


def are_apart(labels: dict[str, str]) -> bool:
    """Return whether several classes are left, and every path, once they are clean."""
    classes = {casefolded(clean_label(label)) for label in labels.values()}
    return len(classes) == len(labels) > 1 and "" not in classes and len({*map(stripped, labels)} - {""}) == len(labels)


@given(
    st.dictionaries(
        NAMES.filter(lambda name: stripped(name) not in {".", ".."} and stripped(name)[1:2] != ":"),
        LABELS,
        min_size=2,
        max_size=6,
    ).filter(are_apart),
    st.sampled_from(["m.csv", "m.tsv", "m.parquet"]),
)
@example({"1.png": "yes", "2.png": "no"}, "m.csv")
@example({"1.png": "NA", "2.png": "nan"}, "m.csv")
@example({"a,b.png": 'quo"te', "ä ö.png": " led"}, "m.csv")
@example({"a\tb.png": "line\nbreak", "-": "=1+1"}, "m.tsv")
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_names_and_labels_stay_what_they_are(tmp_path: Path, labels: dict[str, str], name: str) -> None:
    """No text is taken for a number, a truth value or nothing, in any of the formats."""
    files = files_of(write(tmp_path, [{"path": path, "label": label} for path, label in labels.items()], name))
    assert {file.path: file.label for file in files} == {
        stripped(path): clean_label(label) for path, label in labels.items()
    }


@given(st.binary(max_size=200), st.sampled_from(["m.csv", "m.tsv", "m.parquet"]))
@example(b'path,label\n"a.png,x\n', "m.csv")
@example(b"path,label\na.png,x\nb.png,y,z\n", "m.csv")
@example(b"\xef\xbb\xbfpath,label\r\na.png,x\r\n\r\nb.png,y\r\n", "m.csv")
@example(b"path,label\na\0.png,x\n", "m.csv")
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_content_is_read_or_refused_in_a_sentence(tmp_path: Path, content: bytes, name: str) -> None:
    """No content of a file ends in anything but files or a sentence."""
    (tmp_path / name).write_bytes(content)
    with suppress(UserError):
        assert len(files_of(tmp_path / name)) >= 2


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"path": "../c.png", "label": "x"}, "row 3 ('../c.png'): the path '../c.png' leaves the folder by '..'"),
        ({"path": "a/../../c.png", "label": "x"}, "row 3"),
        ({"path": "/etc/passwd", "label": "x"}, "'/etc/passwd' is absolute"),
        ({"path": "C:/c.png", "label": "x"}, "'C:/c.png' is absolute"),
        ({"path": "c\\1.png", "label": "x"}, "has a backslash: write forward slashes"),
        ({"path": "", "label": "x"}, "row 3 (''): the path '' is empty"),
        ({"path": "c.png", "label": ""}, "row 3 ('c.png'): the label '' is empty: give the image a class"),
        (
            {"path": "./a.png", "label": "x"},
            "rows 1 and 3: the path 'a.png' is in the manifest twice, with the labels 'cat' and 'x'",
        ),
        ({"path": "a.png", "label": "cat", "group": "7"}, "twice, with the groups '' and '7'"),
        ({"path": "c.png", "label": "x", "split": "dev"}, "the split 'dev' is none of train, training, val"),
        ({"path": "c.png", "label": "x", "weight": "heavy"}, "the weight 'heavy' is no number of 0 or more"),
        ({"path": "c.png", "label": "x", "weight": "-1"}, "'-1' is no number"),
        ({"path": "c.png", "label": "x", "weight": "nan"}, "'nan' is no number"),
        ({"path": "c.png", "label": "x", "weight": "inf"}, "'inf' is no number"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, row: dict[str, str], expected: str) -> None:
    """The sentence has the row, the value and what is wrong with it."""
    assert expected in refused_rows(tmp_path, row)


def test_more_rows_than_one_are_counted(tmp_path: Path) -> None:
    """The first is named, and how many there are."""
    sentence = refused_rows(tmp_path, {"path": "c.png", "label": ""}, {"path": "../d.png", "label": "x"})
    assert "row 3" in sentence
    assert "(1 more like it)" in sentence


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path,lable\na,x\n", "no column 'label' (did you mean 'lable'?)"),
        ("where,label\na,x\n", "no column 'path' (choose from: where)"),
        ("photo;img;label\na;a;x\n", "no column 'path', but several that may be it: 'photo', 'img'"),
        ("image,1,2\na,1,0\nb,1,1\n", "the 2 columns of 0 and 1 (1, 2) mark 'b' as several classes (1, 2)"),
        ("image,1,2\na,1,0\nb,0,0\n", "mark 'b' as no class"),
        ("path,label,splits\na,x,test\n", "column 'splits', which is not read: name it 'split' or remove it"),
        ("path,label,label\na,x,y\n", "the column 'label' twice"),
        ("path,label\n", "has no rows"),
        ("", "no column 'path'"),
        ("path,label\na,x\nb,y,z\n", "line 3 has 3 values for 2 columns"),
        ("path,label,split\na,x,test\nb,y,val\n", "splits test, val but no row of train"),
        ("path,label\na,x\nb,x\n", "only the class 'x' (2 files): list images of at least two"),
    ],
)
def test_a_table_that_cannot_be_used(tmp_path: Path, text: str, expected: str) -> None:
    """The sentence has the file and what is wrong with it as a whole."""
    source = tmp_path / "mine.csv"
    source.write_text(text)
    sentence = refusal(source)
    assert str(source) in sentence
    assert expected in sentence


def test_columns_in_any_case_and_order(tmp_path: Path) -> None:
    """A spreadsheet's own spelling of the names is understood."""
    (tmp_path / "m.csv").write_text("Height, Label,Path\n3,x,a.png\n4,y,b.png\n")
    assert [(file.path, file.label) for file in files_of(tmp_path / "m.csv")] == [("a.png", "x"), ("b.png", "y")]
