"""Tables as they are found: columns under other names, files that are named in other ways, images that no row lists."""

import unicodedata
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tasks.data.sources import SourceListing, find
from tasks.errors import UserError
from tasks.params import DataParams

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Müll.jpg") for form in ("NFC", "NFD"))


def folder_of(root: Path, *files: str, **tables: str) -> Path:
    """Make files, and tables of text, in a folder."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    for name, text in tables.items():
        (root / f"{name}.csv").write_text(text, encoding="utf-8")
    return root


def listing_of(path: Path, **params: Any) -> SourceListing:
    """Return what a table, or a folder with one, lists."""
    return find(DataParams(source="manifest", path=str(path), **params), path.parent / "work")


def pairs(listing: SourceListing) -> dict[str, str]:
    """Return the label of each path."""
    return {file.path: file.label for file in listing.files}


def refusal(path: Path) -> str:
    """Return the sentence that a path is refused with."""
    with pytest.raises(UserError) as caught:
        listing_of(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("image_id", "breed"), ("filename", "class"), ("file_name", "category"), ("Image Path", "Class Name"),
        ("img", "target"), ("id", "species"), ("image", "y"), ("filepath", "labels"),
    ],
)  # fmt: skip
def test_usual_names_of_columns_are_taken_and_said(tmp_path: Path, path: str, label: str) -> None:
    """The only columns that can be meant are; a note names both."""
    folder_of(tmp_path, "a.png", "b.png", train=f"{path},{label},age\na.png,x,3\nb.png,y,4\n")
    listing = listing_of(tmp_path / "train.csv")
    assert pairs(listing) == {"a.png": "x", "b.png": "y"}
    assert any(f"the column '{path}' of train.csv for the path" in note for note in listing.notes)
    assert any(f"the column '{label}' of train.csv for the label" in note for note in listing.notes)


def test_names_of_its_own_come_first(tmp_path: Path) -> None:
    """A table with path and label may have columns of any other name."""
    folder_of(tmp_path, t="id,path,class,label\n7,a.png,p,x\n8,b.png,q,y\n")
    listing = listing_of(tmp_path / "t.csv")
    assert (pairs(listing), listing.notes) == ({"a.png": "x", "b.png": "y"}, [])


def test_columns_that_mark_the_class(tmp_path: Path) -> None:
    """One 1 in each row of several columns of 0 and 1 is the label."""
    folder_of(tmp_path, "a.jpg", "b.jpg", train="image_id,scab,rust,none\na,1,0,0\nb,0,0.0,1.0\n")
    listing = listing_of(tmp_path)
    assert pairs(listing) == {"a.jpg": "scab", "b.jpg": "none"}
    assert any("the 3 columns of 0 and 1 (scab, rust, none)" in note for note in listing.notes)


@pytest.mark.parametrize(
    ("files", "row", "expected", "said"),
    [
        (["train/a.jpg"], "train\\a.jpg", "train/a.jpg", "turned to forward slashes"),
        (["a.jpg"], " 'a.jpg'\u00a0", "a.jpg", "stripped of blanks or quotes"),
        ([COMPOSED], DECOMPOSED, COMPOSED, "another Unicode form"),
        ([DECOMPOSED], COMPOSED, DECOMPOSED, "another Unicode form"),
        (["a.JPG"], "a.jpg", "a.JPG", "another Unicode form or case"),
        (["a.jpg", "a.JPG"], "a.jpg", "a.jpg", ""),
        (["a.jpg"], "a", "a.jpg", "by adding a suffix"),
        (["a.jpg", "a.txt"], "a", "a.jpg", "by adding a suffix"),
        (["deep/er/a.b.jpg"], "deep/er/a.b", "deep/er/a.b.jpg", "by adding a suffix"),
        (["a b.jpg"], "a b.jpg", "a b.jpg", ""),
        ([" a.jpg "], '" a.jpg "', " a.jpg ", ""),
    ],
)
def test_files_are_found_however_a_table_names_them(
    tmp_path: Path, files: list[str], row: str, expected: str, said: str
) -> None:
    """The path that is kept is that of the file on the disk, and a note says how many were read so."""
    folder_of(tmp_path, *files, "z/other.png", t=f"path,label\n{row},x\nz/other.png,y\n")
    listing = listing_of(tmp_path / "t.csv")
    assert pairs(listing) == {expected: "x", "z/other.png": "y"}
    about_paths = [note for note in listing.notes if note.startswith("1 path was")]
    assert [said in note for note in about_paths] == [True] * bool(said)


def test_a_windows_path_without_a_file_is_refused(tmp_path: Path) -> None:
    """It may mean anything."""
    folder_of(tmp_path, "a.png", t="path,label\na.png,x\ntrain\\b.png,y\n")
    assert "row 2 ('train\\\\b.png'): the path" in refusal(tmp_path / "t.csv")
    assert "write forward slashes" in refusal(tmp_path / "t.csv")


def test_absolute_paths_inside_the_folder_are_made_relative(tmp_path: Path) -> None:
    """Outside of it they are refused; a link to the folder is the folder."""
    folder_of(tmp_path / "real", "a.png", "s/b.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real/t.csv").write_text(f"path,label\n{tmp_path}/real/a.png,x\n{tmp_path}/link/s/b.png,y\n")
    listing = listing_of(tmp_path / "link/t.csv")
    assert pairs(listing) == {"a.png": "x", "s/b.png": "y"}
    assert any("2 paths were made relative" in note for note in listing.notes)
    (tmp_path / "real/t.csv").write_text(f"path,label\n{tmp_path}/a.png,x\ns/b.png,y\n")
    assert "is absolute" in refusal(tmp_path / "real/t.csv")


def test_names_alone_are_looked_for_beside_the_table(tmp_path: Path) -> None:
    """As Kaggle packs them: train.csv, and folders of which one is named like it."""
    folder_of(
        tmp_path, "train_images/1.jpg", "train_images/2.jpg", "test_images/1.jpg", "test_images/3.jpg",
        train="image_id,label\n1,x\n2,y\n", test="image_id\n3\n", sample_submission="image_id,label\n3,x\n",
    )  # fmt: skip
    listing = listing_of(tmp_path)
    assert pairs(listing) == {"train_images/1.jpg": "x", "train_images/2.jpg": "y"}
    assert any("read train.csv: the only table" in note for note in listing.notes)
    assert any("2 paths were found in a folder beside the table" in note for note in listing.notes)
    assert {file.path for file in listing.passed_over} == {"test_images/1.jpg", "test_images/3.jpg"}


def test_names_in_several_folders(tmp_path: Path) -> None:
    """Each is found where it is; one that is in two of them is a question."""
    folder_of(tmp_path, "part_1/1.jpg", "part_2/2.jpg", meta="image_id,dx\n1,x\n2,y\n")
    assert pairs(listing_of(tmp_path)) == {"part_1/1.jpg": "x", "part_2/2.jpg": "y"}
    folder_of(tmp_path, "part_2/1.jpg")
    assert "row 1: the path '1' may be part_1/1.jpg, part_2/1.jpg" in refusal(tmp_path)


def test_a_missing_file_is_not_looked_for_elsewhere_where_paths_are_right(tmp_path: Path) -> None:
    """It may be gone; a file of the same name in another folder is another image."""
    folder_of(tmp_path, "a.png", "other/b.png", t="path,label\na.png,x\nb.png,y\n")
    assert pairs(listing_of(tmp_path / "t.csv")) == {"a.png": "x", "b.png": "y"}


def test_images_that_no_row_lists_are_counted(tmp_path: Path) -> None:
    """At any depth, with five names; other files are not spoken of."""
    others = [f"more/{i}.png" for i in range(7)]
    folder_of(tmp_path, "a.png", "b.png", *others, "notes.md", ".hidden/c.png", t="path,label\na.png,x\nb.png,y\n")
    listing = listing_of(tmp_path)
    assert [file.path for file in listing.passed_over] == others
    (note,) = [note for note in listing.notes if "passed over" in note]
    assert "7 images that the table doesn't list" in note
    assert note.endswith("more/4.png and 2 more")


def test_in_a_repository_only_folders_of_the_table_are_looked_through(tmp_path: Path) -> None:
    """A table at the top of a project doesn't make all of its pictures images of the data set."""
    folder_of(tmp_path, ".git/x", "photos/a.png", "photos/b.png", "photos/c.png", "docs/logo.png")
    (tmp_path / "t.csv").write_text("path,label\nphotos/a.png,x\nphotos/b.png,y\n")
    assert [file.path for file in listing_of(tmp_path / "t.csv").passed_over] == ["photos/c.png"]


def test_rows_that_say_the_same_are_one(tmp_path: Path) -> None:
    """It is said how many; labels that are one class say the same, unless case is kept."""
    folder_of(tmp_path, t="path,label\na.png,Cat\nb.png,dog\na.png,cat \n./a.png,Cat\n")
    listing = listing_of(tmp_path / "t.csv")
    assert pairs(listing) == {"a.png": "Cat", "b.png": "dog"}
    assert any("left out 2 rows of t.csv" in note for note in listing.notes)
    with pytest.raises(UserError, match=r"rows 1 and 3: the path 'a.png' is in the manifest twice"):
        listing_of(tmp_path / "t.csv", label_case="keep")


def test_splits_and_weights_in_quotes(tmp_path: Path) -> None:
    """What is around a value doesn't matter."""
    folder_of(tmp_path, t="path,label,split,weight\na.png,x,'train', 2 \nb.png,y,\u00a0VALID ,\n")
    assert [(file.split, file.weight) for file in listing_of(tmp_path / "t.csv").files] == [
        ("train", 2.0),
        ("val", 1.0),
    ]


def test_which_table_of_a_folder(tmp_path: Path) -> None:
    """The only one with paths and labels; several, and class folders beside it, are a question."""
    one = folder_of(
        tmp_path / "one", "a.png", "b.png", metadata="file_name,label\na.png,x\nb.png,y\n", costs="a,b\n1,2\n"
    )
    assert len(listing_of(one).files) == 2
    (one / "more.csv").write_text("path,label\na.png,x\n")
    assert "several tables (metadata.csv, more.csv): write the one to be read as data.path" in refusal(one)
    classes = folder_of(tmp_path / "classes", "x/a.png", "y/b.png", meta="path,label\nx/a.png,x\ny/b.png,y\n")
    assert "write 'source: folder' for them, or 'path: " in refusal(classes)
    wrong = folder_of(tmp_path / "wrong", "a.png", t="where,label\na.png,x\n")
    assert "t.csv has no column 'path'" in refusal(wrong)


def test_class_folders_in_an_archive_stay_classes(tmp_path: Path) -> None:
    """A table of remarks beside them changes nothing."""
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("x/a.png", "y/b.png"):
            archive.writestr(name, b"")
        archive.writestr("remarks.csv", "file,class\nx/a.png,x\n")
    listing = find(DataParams(source="archive", path=str(tmp_path / "a.zip")), tmp_path / "work")
    assert pairs(listing) == {"x/a.png": "x", "y/b.png": "y"}


def test_spreadsheets_are_refused_with_what_to_do(tmp_path: Path) -> None:
    """By their name, or in the folder that is named."""
    folder_of(tmp_path, "a.png", "labels.xlsx")
    for path in (tmp_path, tmp_path / "labels.xlsx"):
        assert "labels.xlsx is a spreadsheet, which is not read: save it as CSV" in refusal(path)


def test_whole_numbers_of_parquet(tmp_path: Path) -> None:
    """Pandas writes 1 as 1.0 where a row was missing; halves stay halves."""
    folder_of(tmp_path, "1.png", "2.png")
    target = tmp_path / "train.parquet"
    pd.DataFrame({"image_id": [1.0, 2.0, None], "label": [3.0, 4.0, None]}).to_parquet(target)
    listing = listing_of(target)
    assert pairs(listing) == {"1.png": "3", "2.png": "4"}
    assert any("without a fraction" in note for note in listing.notes)
    assert any("1 blank row" in note for note in listing.notes)
    pd.DataFrame({"image_id": ["1", "2"], "label": [0.5, 1.0]}).to_parquet(target)
    assert pairs(listing_of(target)) == {"1.png": "0.5", "2.png": "1.0"}


def test_images_inside_parquet_are_refused(tmp_path: Path) -> None:
    """The sentence says what the column holds, and what to write instead."""
    rows = [{"image": {"bytes": b"x", "path": f"{label}.png"}, "label": label} for label in "xy"]
    pd.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
    assert "the column 'image' holds struct" in refusal(tmp_path / "t.parquet")
