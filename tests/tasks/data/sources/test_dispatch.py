"""Sources: which files are listed, under which label and split."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.data.sources import LabelledFile, find
from tasks.data.sources.fetching import fetch
from tasks.errors import UserError
from tasks.params import DataParams


def folder_of(root: Path, *files: str) -> DataParams:
    """Make files below a folder and return params that read it."""
    root.mkdir(exist_ok=True)
    for file in files:
        target = root / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    return DataParams(source="folder", path=str(root))


def listed(params: DataParams) -> list[tuple[str, str, str]]:
    """Return path, label and split of each file."""
    return [(file.path, file.label, file.split) for file in find(params, Path("unused")).files]


def test_folder_a_class(tmp_path: Path) -> None:
    """Each folder is a class; files in folders within belong to it; loose files belong to none."""
    params = folder_of(tmp_path, "dog/b.png", "cat/x.jpg", "cat/deep/er/y.jpg", "README.md")
    assert listed(params) == [("cat/deep/er/y.jpg", "cat", ""), ("cat/x.jpg", "cat", ""), ("dog/b.png", "dog", "")]


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "val", "test"), ("Training", "Validation", "Testing"), ("TRAIN", "valid", "test")],
)
def test_folders_of_splits(tmp_path: Path, train: str, val: str, test: str) -> None:
    """train/val/test folders, under their usual names, are splits and not classes."""
    params = folder_of(tmp_path, *(f"{split}/{label}/1.png" for split in (train, val, test) for label in "ab"))
    assert sorted(listed(params)) == sorted(
        (f"{folder}/{label}/1.png", label, split)
        for folder, split in ((train, "train"), (val, "val"), (test, "test"))
        for label in "ab"
    )


def test_train_alone_is_a_split(tmp_path: Path) -> None:
    """A source may give its train only; the rest is carved from it later."""
    params = folder_of(tmp_path, "train/a/1.png", "train/b/1.png")
    assert {split for _, _, split in listed(params)} == {"train"}


def test_held_out_splits_without_train_are_refused(tmp_path: Path) -> None:
    """There is nothing to train on, and the message says what is there."""
    with pytest.raises(UserError, match="splits test, val but no train folder"):
        find(folder_of(tmp_path, "val/a/1.png", "test/b/1.png"), tmp_path)


def test_class_named_like_a_split_beside_others_is_a_class(tmp_path: Path) -> None:
    """One folder with another name makes all of them classes."""
    params = folder_of(tmp_path, "test/1.png", "field/1.png")
    assert listed(params) == [("field/1.png", "field", ""), ("test/1.png", "test", "")]


def test_class_beside_folders_of_splits_is_refused(tmp_path: Path) -> None:
    """Splits and classes side by side would make classes of the splits."""
    for folder in ("train/a", "train/b", "val/a", "val/b", "others"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "image.png").touch()
    with pytest.raises(UserError, match="beside the folder others"):
        find(DataParams(source="folder", path=str(tmp_path)), tmp_path)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    """The path of params.yaml is repeated, with the key to correct."""
    with pytest.raises(UserError, match=r"nowhere does not exist: correct data\.path"):
        find(DataParams(source="folder", path=str(tmp_path / "nowhere")), tmp_path)


@pytest.mark.parametrize("leftover", [(), ("mud/.DS_Store",)])
def test_empty_class_is_named(tmp_path: Path, leftover: tuple[str, ...]) -> None:
    """A class folder with no file in it, or hidden ones only, is named."""
    params = folder_of(tmp_path, "clean/1.png", "sand/1.png", *leftover)
    (tmp_path / "mud").mkdir(exist_ok=True)
    with pytest.raises(UserError, match=r"class folder .*mud is empty"):
        find(params, tmp_path)


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    """The single class is named."""
    with pytest.raises(UserError, match=r"only the class 'lonely'.*at least two classes"):
        find(folder_of(tmp_path, "lonely/1.png", "lonely/2.png"), tmp_path)


def test_loose_images_are_no_classes(tmp_path: Path) -> None:
    """Images without folders have no label."""
    with pytest.raises(UserError, match="no class folders"):
        find(folder_of(tmp_path, "1.png", "2.png"), tmp_path)


def test_hidden_files_and_folders_are_ignored(tmp_path: Path) -> None:
    """What the system leaves behind is neither image nor class nor split."""
    params = folder_of(
        tmp_path, ".git/config", ".cache/1.png", "a/1.png", "a/.DS_Store", "a/.thumbs/1.png", "b/._1.png", "b/1.png"
    )
    assert [path for path, _, _ in listed(params)] == ["a/1.png", "b/1.png"]


@pytest.mark.parametrize(
    "names",
    [
        ("yes", "no"),
        ("1", "2"),
        ("1.0", "1e3"),
        ("null", "true"),
        ("hot spot", "led-"),
        ("größer", "日本"),
        ("a,b", "c'd"),
    ],
)
def test_class_names_stay_text(tmp_path: Path, names: tuple[str, str]) -> None:
    """No name is taken for a number, a truth value or nothing."""
    params = folder_of(tmp_path, *(f"{name}/ä {name}.png" for name in names))
    assert listed(params) == sorted((f"{name}/ä {name}.png", name, "") for name in names)


def test_class_name_that_is_no_unicode_is_refused_by_name(tmp_path: Path) -> None:
    """A name in an old encoding can't be a label; the message shows where it is."""
    params = folder_of(tmp_path, "a/1.png", "b/1.png")
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/gr\xf6sser"))
    try:
        odd.mkdir()
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    (odd / "1.png").touch()
    with pytest.raises(UserError, match=r"gr\\xf6sser is not valid Unicode: rename it") as caught:
        find(params, tmp_path)
    assert str(caught.value).isprintable()


def test_same_listing_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order in which the file system answers does not show."""
    params = folder_of(tmp_path, *(f"{label}/{number}.png" for label in "cab" for number in (10, 9, 1)))
    before = listed(params)
    real = os.scandir

    @contextmanager
    def backwards(folder: str | Path) -> Iterator[list[os.DirEntry[str]]]:
        with real(folder) as entries:
            yield sorted(entries, key=lambda entry: entry.name, reverse=True)

    monkeypatch.setattr(os, "scandir", backwards)
    assert listed(params) == before == sorted(before)


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the root of a repository for the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


ELPV = {"source": "elpv", "path": "data/fetched/elpv"}


def test_packaged_cells_are_fetched_and_listed(at_home: Path) -> None:
    """The packaged images arrive with their labels and licence, and are listed with their cell type as subset."""
    params = DataParams.model_validate(ELPV)
    params.root.parent.mkdir(parents=True)
    fetch(params, params.root, at_home / "downloads")
    assert "BY-NC-SA" in (params.root / "LICENSE.txt").read_text()
    listing = find(params, at_home)
    assert len(listing.files) == 2624
    assert all((listing.root / file.path).is_file() for file in listing.files)
    assert {file.subset for file in listing.files} == {"mono", "poly"}
    assert {(file.split, file.group, file.weight) for file in listing.files} == {("", "", 1.0)}


def test_defect_probability_decides_the_label(at_home: Path) -> None:
    """A cell is defective above the threshold, not at it."""
    (at_home / ELPV["path"]).mkdir(parents=True)
    labels = "images/1.png 0.0 mono\nimages/2.png  0.3333 poly\nimages/3.png 1.0 mono\n"
    (at_home / ELPV["path"] / "labels.csv").write_text(labels)

    def defective(over: float) -> list[str]:
        params = DataParams.model_validate({**ELPV, "defective_over": over})
        return [file.path for file in find(params, at_home).files if file.label == "defective"]

    assert defective(0.5) == ["images/3.png"]
    assert defective(0.1) == ["images/2.png", "images/3.png"]
    assert defective(0.3333) == ["images/3.png"]
    files = find(DataParams.model_validate(ELPV), at_home).files
    assert LabelledFile("images/2.png", "functional", subset="poly") in files


def test_packaged_source_without_its_labels_is_refused(at_home: Path) -> None:
    """Without the labels, the sentence says how they get there."""
    (at_home / ELPV["path"]).mkdir(parents=True)
    with pytest.raises(UserError, match=r"no labels\.csv: run 'dvc repro'"):
        find(DataParams.model_validate(ELPV), at_home)


def test_what_was_not_fetched_yet_is_named(at_home: Path) -> None:
    """Where the images are fetched, the params are not what is wrong."""
    with pytest.raises(UserError, match="data/fetched/elpv does not exist: run 'dvc repro' to fetch it"):
        find(DataParams.model_validate(ELPV), at_home)


def test_missing_package_is_named(at_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the message says what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match="elpv-dataset is not installed"):
        fetch(DataParams.model_validate(ELPV), at_home / "elpv", at_home)


@pytest.mark.parametrize(
    ("source", "path", "expected"),
    [
        ("folder", "labels.csv", "write 'source: manifest'"),
        ("folder", "photos.tar.gz", "write 'source: archive'"),
        ("manifest", "photos", "write 'source: folder'"),
        ("manifest", "photos.zip", "write 'source: archive'"),
        ("archive", "photos", "write 'source: folder'"),
        ("archive", "labels.csv", "write 'source: manifest'"),
        ("archive", "photos.tar.zst", r"reads an archive \(.*\.tar\.xz.*correct data\.path"),
        ("folder", "photo.png", r"correct data\.path"),
    ],
)
def test_source_and_path_that_do_not_fit(at_home: Path, source: str, path: str, expected: str) -> None:
    """The sentence says what to write instead."""
    (at_home / path).mkdir() if "." not in path else (at_home / path).touch()
    with pytest.raises(UserError, match=expected):
        find(DataParams(source=source, path=path), at_home)
