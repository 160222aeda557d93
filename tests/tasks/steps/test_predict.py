"""Which files are scored, by what is named: images, folders, patterns; and which tables can be written."""

from pathlib import Path

import pytest

from tasks.errors import UserError
from tasks.steps.predict import images_of, must_be_written

OUTPUT = Path("scores.parquet")
FILES = ("a.png", "in/b.png", "in/deep/c.jpg", "in/.hidden.png", "other/d[1].png", "other/scores.parquet")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with some files."""
    for file in FILES:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("sources", "root", "names"),
    [
        (["a.png"], ".", ["a.png"]),
        (["in/b.png"], "in", ["b.png"]),
        (["in"], "in", ["b.png", "deep/c.jpg"]),
        (["in/b.png", "a.png"], ".", ["a.png", "in/b.png"]),
        (["in/deep", "in/deep/c.jpg", "other/d[1].png"], ".", ["in/deep/c.jpg", "other/d[1].png"]),
        (["in/*.png"], "in", ["b.png"]),
        (["**/*.jpg", "*.png"], ".", ["a.png", "in/deep/c.jpg"]),
        (["i?"], "in", ["b.png", "deep/c.jpg"]),
        (["in/../in/deep/c.jpg"], "in/deep", ["c.jpg"]),
        (["in/.hidden.png"], "in", [".hidden.png"]),
    ],
)
def test_images_folders_and_patterns(here: Path, sources: list[str], root: str, names: list[str]) -> None:
    """Each file once, relative to the folder that was named or that all share; hidden ones only by name."""
    images = images_of(sources, OUTPUT)
    assert (images.root, images.names) == ((here / root).resolve(), names)


def test_home_is_known(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quoted path or pattern may begin with it."""
    monkeypatch.setenv("HOME", str(here))
    assert images_of(["~/in/b.png"], OUTPUT).names == images_of(["~/in/b*"], OUTPUT).names == ["b.png"]


def test_the_table_of_an_earlier_run_is_no_image(here: Path) -> None:
    """It is written anew, and may lie among the images."""
    assert images_of(["other"], here / "other/scores.parquet").names == ["d[1].png"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [("nowhere.png", "no file and no folder nowhere.png"), ("in/*.bmp", "no file fits"), ("empty", "has no files")],
)
def test_what_is_not_there_is_named(here: Path, source: str, expected: str) -> None:
    """Though other things are."""
    (here / "empty").mkdir()
    with pytest.raises(UserError, match=expected):
        images_of([source] if source == "empty" else ["a.png", source], OUTPUT)


@pytest.mark.parametrize("name", ["t.csv", "t.TSV", "t.jsonl", "t.parquet"])
def test_tables_that_can_be_written(name: str) -> None:
    """By the ending of their name, in any case."""
    must_be_written(Path(name))


@pytest.mark.parametrize("name", ["t.xlsx", "t.ods", "t", "t.png"])
def test_other_tables_are_refused_with_the_endings(name: str) -> None:
    """Before anything is scored."""
    with pytest.raises(UserError, match=rf"{name} is .*end in \.csv, \.tsv, \.jsonl or \.parquet"):
        must_be_written(Path(name))
