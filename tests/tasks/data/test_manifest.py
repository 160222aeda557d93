"""The manifest: rows that belong to the store's rows, and files that are checked at the door."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from PIL import Image

from tasks.data import manifest
from tasks.data.pixels import open_store
from tasks.data.sources import list_files
from tasks.errors import UserError
from tasks.params import DataParams, SplitParams

SIZE = 16
Built = tuple[pd.DataFrame, pd.DataFrame, Path]


def grey(folder: Path, count: int) -> DataParams:
    """Write images of ``count`` different greys, in two classes by turns; return params that read them."""
    for index in range(count):
        target = folder / "ab"[index % 2]
        target.mkdir(parents=True, exist_ok=True)
        Image.new("L", (SIZE, SIZE), index).save(target / f"{index:03}.png")
    return DataParams(source="folder", path=str(folder), size=SIZE)


def build(params: DataParams, store: Path) -> Built:
    """List, read and split a folder; return manifest, quarantine and store."""
    files = list_files(params)
    channels = manifest.resolve_channels(params, files)
    return *manifest.build(files, params, SplitParams(), channels, store), store


@pytest.fixture(scope="module")
def built(cells: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Manifest, quarantine and store of the real images."""
    store = tmp_path_factory.mktemp("built") / "pixels.npy"
    return build(DataParams(source="folder", path=str(cells), size=SIZE), store)


def test_manifest_describes_every_image(cells: Path, built: Built) -> None:
    """Each row tells what its file is, as anyone can check."""
    table, quarantine, _ = built
    assert len(table) == 80
    assert quarantine.empty
    assert set(table["split"]) == {"train", "val", "test"}
    for row in table.to_dict("records"):
        file = cells / row["path"]
        content = file.read_bytes()
        assert (row["bytes"], row["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert row["label"] == file.parent.name
        with Image.open(file) as image:
            assert (row["width"], row["height"], row["mode"]) == (*image.size, image.mode)


def test_row_of_manifest_is_row_of_store(tmp_path: Path) -> None:
    """Row i of the manifest is row i of the store, also after unreadable files were left out."""
    params = grey(tmp_path / "images", 40)
    for name in ("a/000.png", "b/017.png"):
        (tmp_path / "images" / name).write_text("gone bad")
    table, quarantine, store = build(params, tmp_path / "pixels.npy")
    pixels = open_store(store)
    assert len(table) == len(pixels) == 38
    assert table.index.tolist() == list(range(38))
    assert pixels[:, 0, 0, 0].tolist() == [int(Path(path).stem) for path in table["path"]]
    assert (pixels == pixels[:, :1, :1]).all()
    assert sorted(quarantine["path"]) == ["a/000.png", "b/017.png"]


def test_unreadable_images_are_quarantined_with_a_reason(tmp_path: Path) -> None:
    """One bad file in twenty is left out and told of; the run goes on."""
    params = grey(tmp_path / "images", 20)
    (tmp_path / "images/b/001.png").write_text("no image")
    table, quarantine, _ = build(params, tmp_path / "pixels.npy")
    (row,) = quarantine.to_dict("records")
    assert (row["path"], row["label"]) == ("b/001.png", "b")
    assert "unreadable" in row["reason"]
    assert "b/001.png" not in set(table["path"])


def test_too_many_unreadable_images_stop_the_run(tmp_path: Path) -> None:
    """More than one in twenty is no accident: the counts, the setting and the first file are named."""
    params = grey(tmp_path / "images", 20)
    for name in ("a/000.png", "b/001.png"):
        (tmp_path / "images" / name).write_text("no image")
    with pytest.raises(UserError, match=r"2 of 20 files .* data\.max_unreadable \(5%\) .* a/000\.png \(unreadable"):
        build(params, tmp_path / "pixels.npy")


@pytest.mark.parametrize(("allowed", "stops"), [(0.0, True), (0.1, False), (1.0, False)])
def test_tolerance_for_unreadable_images_is_set(tmp_path: Path, allowed: float, stops: bool) -> None:
    """The user decides how much may be lost."""
    params = grey(tmp_path / "images", 20).model_copy(update={"max_unreadable": allowed})
    (tmp_path / "images/a/000.png").write_text("no image")
    if stops:
        with pytest.raises(UserError, match="1 of 20"):
            build(params, tmp_path / "pixels.npy")
    else:
        assert len(build(params, tmp_path / "pixels.npy")[0]) == 19


def test_given_splits_reach_the_manifest(tmp_path: Path) -> None:
    """Folders of splits are the manifest's splits."""
    for index, split in enumerate(("train", "val", "test")):
        grey(tmp_path / "images" / split, 4 + 2 * index)
    table, _, _ = build(DataParams(source="folder", path=str(tmp_path / "images"), size=SIZE), tmp_path / "pixels.npy")
    assert [Path(path).parts[0] for path in table["path"]] == table["split"].tolist()
    assert table["split"].value_counts().to_dict() == {"test": 8, "val": 6, "train": 4}


@pytest.mark.parametrize(
    ("modes", "asked", "channels"),
    [
        (("L", "L"), "auto", 1),
        (("L", "1"), "auto", 1),
        (("I;16", "L"), "auto", 1),
        (("L", "RGB"), "auto", 3),
        (("RGBA", "RGB"), "auto", 3),
        (("P", "L"), "auto", 3),
        (("L", "L"), 3, 3),
        (("RGB", "RGB"), 1, 1),
    ],
)
def test_channels(tmp_path: Path, modes: tuple[str, str], asked: str | int, channels: int) -> None:
    """One channel where every image is grey, three where one isn't, and always what was asked for."""
    for label, mode in zip("ab", modes, strict=True):
        (tmp_path / label).mkdir()
        Image.new(mode, (20, 20)).save(tmp_path / label / "1.png")
    params = DataParams.model_validate({"source": "folder", "path": str(tmp_path), "channels": asked})
    assert manifest.resolve_channels(params, list_files(params)) == channels


def test_unreadable_file_does_not_decide_the_channels(tmp_path: Path) -> None:
    """A text file among grey images leaves them grey."""
    params = grey(tmp_path, 4)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    assert manifest.resolve_channels(params, list_files(params)) == 1


def test_tables_come_back(built: Built, tmp_path: Path) -> None:
    """Both tables are the same after they were written and read, empty or not."""
    table, quarantine, _ = built
    for content, schema in ((table, manifest.MANIFEST), (quarantine, manifest.QUARANTINE)):
        target = tmp_path / "table.parquet"
        manifest.write_table(content, schema, target)
        pd.testing.assert_frame_equal(manifest.read_table(target, schema), content)


@pytest.mark.parametrize("label", ["yes", "1", "null", "größer", "two words"])
def test_labels_stay_text(tmp_path: Path, label: str) -> None:
    """A class's name is the same text after the manifest was written and read."""
    for name in (label, "other"):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("L", (20, 20), len(name)).save(tmp_path / "images" / name / "1.png")
    table, _, _ = build(DataParams(source="folder", path=str(tmp_path / "images"), size=SIZE), tmp_path / "pixels.npy")
    manifest.write_table(table, manifest.MANIFEST, tmp_path / "table.parquet")
    read = manifest.read_table(tmp_path / "table.parquet", manifest.MANIFEST)
    assert set(read["label"]) == {label, "other"}


BREAKS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "split": lambda table: table.assign(split="validation"),
    "sha256": lambda table: table.assign(sha256="abc"),
    "path": lambda table: table.assign(path="same.png"),
    "label": lambda table: table.assign(label=""),
    "width": lambda table: table.assign(width=0),
    "height": lambda table: table.assign(height=table["height"].astype(float)),
    "bytes": lambda table: table.drop(columns="bytes"),
    "extra": lambda table: table.assign(extra=1),
    "mode": lambda table: table.assign(mode=None),
}


@pytest.mark.parametrize("column", BREAKS)
def test_damaged_manifest_names_file_and_column(built: Built, tmp_path: Path, column: str) -> None:
    """Whatever doesn't fit is refused with the file's and the column's name, on reading and on writing."""
    broken = BREAKS[column](built[0])
    source = tmp_path / "manifest.parquet"
    broken.to_parquet(source, index=False)
    with pytest.raises(UserError) as caught:
        manifest.read_table(source, manifest.MANIFEST)
    assert str(source) in str(caught.value)
    assert f"'{column}'" in str(caught.value)
    assert "\n" not in str(caught.value)

    with pytest.raises(UserError, match=f"'{column}'"):
        manifest.write_table(broken, manifest.MANIFEST, tmp_path / "new.parquet")
    assert not (tmp_path / "new.parquet").exists()


def test_damage_shows_some_of_the_values(tmp_path: Path) -> None:
    """The message quotes the values that fail, but no more than three of them."""
    schema = pa.DataFrameSchema({"share": pa.Column(float, pa.Check.le(1))})
    with pytest.raises(UserError) as caught:
        manifest.checked(pd.DataFrame({"share": [0.5, *np.arange(2.0, 9.0)]}), schema, tmp_path / "t.parquet")
    said = str(caught.value)
    assert "7 failures" in said
    assert "2.0, 3.0, 4.0" in said
    assert "5.0" not in said


def test_missing_table_says_how_to_make_it(tmp_path: Path) -> None:
    """No manifest: the command to run is named."""
    with pytest.raises(UserError, match=r"manifest\.parquet does not exist: run 'dvc repro'"):
        manifest.read_table(tmp_path / "manifest.parquet", manifest.MANIFEST)


@pytest.mark.parametrize("content", [b"", b"path,label\na,b\n", b"PAR1 cut short"])
def test_file_that_is_no_parquet(tmp_path: Path, content: bytes) -> None:
    """Another file under the manifest's name is a sentence, not a traceback."""
    (tmp_path / "manifest.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"manifest\.parquet is not a readable parquet file"):
        manifest.read_table(tmp_path / "manifest.parquet", manifest.MANIFEST)
