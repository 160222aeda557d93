"""Paths that are nearly right: what the sentence says to write works."""

import re
from pathlib import Path

import pytest

from tasks.data.sources import find
from tasks.errors import UserError
from tasks.params import DataParams
from tests.tasks.data.sources.trees import below, grow, listing_of


def refusal(params: DataParams) -> str:
    """Return the sentence that a source is refused with."""
    with pytest.raises(UserError) as caught:
        find(params, params.root.parent / "work")
    return str(caught.value)


def advised(sentence: str) -> dict[str, str]:
    """Return the params that a sentence says to write."""
    return dict(re.findall(r"'(source|path): ([^']+)'", sentence))


def folder(path: Path) -> DataParams:
    """Return params that read a folder."""
    return DataParams(source="folder", path=str(path))


def labels(params: DataParams) -> set[str]:
    """Return the classes that are found."""
    return {file.label for file in find(params, params.root.parent / "work").files}


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` is expanded at the beginning, and nowhere else."""
    grow(tmp_path / "photos", "cat/1.png", "dog/1.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert labels(DataParams(source="folder", path="~/photos")) == {"cat", "dog"}
    assert str(tmp_path / "fotos") in refusal(DataParams(source="folder", path="~/fotos"))
    assert DataParams(source="folder", path="a/~/b").root == Path("a/~/b")
    assert DataParams(source="folder", path="~nobody-of-this-name/b").root == Path("~nobody-of-this-name/b")


def test_a_misspelt_path(tmp_path: Path) -> None:
    """What lies there under a name like it, with what follows."""
    grow(tmp_path / "photos", *below("small"))
    for wrong, right in (("fotos", "photos"), ("photo/small", "photos/small"), ("photos/smal", "photos/small")):
        assert f"(did you mean '{tmp_path / right}'?)" in refusal(folder(tmp_path / wrong))
    assert "did you mean" not in refusal(folder(tmp_path / "elsewhere"))


def test_one_folder_too_high_beside_images(tmp_path: Path) -> None:
    """Where it isn't entered, the sentence names it, and what it says to write works."""
    params = folder(grow(tmp_path / "set", *below("photos"), "cover.png"))
    sentence = refusal(params)
    assert labels(params.model_copy(update=advised(sentence))) == {"cat", "dog"}


def test_one_folder_too_deep(tmp_path: Path) -> None:
    """A class instead of the folder that has them."""
    root = grow(tmp_path / "photos", "cat/1.png", "dog/1.png")
    sentence = refusal(folder(root / "cat"))
    assert "1 unlabelled image" in sentence
    assert labels(folder(root / "cat").model_copy(update=advised(sentence))) == {"cat", "dog"}


@pytest.mark.parametrize("name", ["labels.csv", "mine.csv"])
def test_a_table_in_the_folder(tmp_path: Path, name: str) -> None:
    """Images that a table labels, read as folders; and a table that is called otherwise."""
    root = grow(tmp_path / "set", "images/1.png", "images/2.png")
    (root / name).write_text("path,label\nimages/1.png,cat\nimages/2.png,dog\n")
    sentence = refusal(folder(root))
    assert labels(DataParams.model_validate({"path": str(root), **advised(sentence)})) == {"cat", "dog"}


def test_a_table_that_is_not_read_is_named(tmp_path: Path) -> None:
    """Folders and a table may both say the classes."""
    listing = listing_of(grow(tmp_path / "photos", "cat/1.png", "dog/1.png", "labels.csv"))
    assert any("labels.csv isn't read" in note for note in listing.notes)


def test_own_images_under_the_shipped_source() -> None:
    """Who changes the path alone is told about the source, too."""
    with pytest.raises(ValueError, match="'source: folder' for images of your own in my/photos"):
        DataParams(source="elpv", path="my/photos")
