"""Curation: which files of an odd folder are used, in which split, and what is said of the others."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.data import manifest
from tasks.data.curation import Curated, curate
from tasks.data.image_facts import ImageFacts
from tasks.data.ingest import Ingested, ingest
from tasks.data.manifest import EarlierPlaces
from tasks.data.sources import LabelledFile, find
from tasks.errors import UserError
from tasks.params import DataParams, SplitParams
from tests.benchmarks.duplicates import random_fields

SIZE = 64
BY_CONTENT = SplitParams(near_duplicates=False)
SPLITS = ("train", "val", "test")


def write_images(target: Path, count: int, seed: int = 0) -> Path:
    """Write images that have nothing in common, in two classes by turns; return the folder."""
    for number, field in enumerate(random_fields(count, np.random.default_rng(seed))):
        path = target / "ab"[number % 2] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(field).resize((100, 100), Image.Resampling.BICUBIC).save(path)
    return target


def write_table(target: Path, rows: list[dict[str, Any]]) -> Path:
    """Write a manifest of one's own beside the images it lists."""
    pd.DataFrame(rows).to_csv(target / "manifest.csv", index=False)
    return target


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Return a row for each image below a folder."""
    paths = sorted(folder.rglob("*.png"))
    return [{"path": path.relative_to(folder).as_posix(), "label": path.parent.name} for path in paths]


def curated(
    folder: Path, work: Path, split: SplitParams = BY_CONTENT, earlier: EarlierPlaces | None = None, **changed: Any
) -> Curated:
    """List, read and curate a folder, as a run does; check that every file is accounted for and the tables fit."""
    source = "manifest" if (folder / "manifest.csv").is_file() else "folder"
    data = DataParams.model_validate({"source": source, "path": str(folder), "size": SIZE, **changed})
    listing = find(data, work)
    paths = [file.path for file in listing.files]
    ingested = ingest(listing.root, paths, data, work / "none.npy", work / "ingest")
    result = curate(listing.files, ingested, data, split, earlier or EarlierPlaces())
    assert sorted([*result.table["path"], *result.quarantine["path"]]) == sorted(paths)
    assert [paths[row] for row in result.table["row"]] == result.table["path"].tolist()
    manifest.validated(result.table, manifest.MANIFEST, work)
    manifest.validated(result.quarantine, manifest.QUARANTINE, work)
    manifest.validated(result.leaks, manifest.LEAKS, work)
    assert all(note.isprintable() for note in result.notes)
    return result


def kinds(result: Curated) -> dict[str, str]:
    """Return the kind of each file's problem."""
    return dict(zip(result.quarantine["path"], result.quarantine["kind"], strict=True))


def splits_by_content(result: Curated) -> dict[str, str]:
    """Return each image's split by its digest."""
    return dict(zip(result.table["sha256"], result.table["split"], strict=True))


def test_many_classes_are_one_line(tmp_path: Path) -> None:
    """Of many classes that are too small, five are named and the others counted, whatever is said of them."""
    for number, field in enumerate(random_fields(60, np.random.default_rng(3))):
        place = tmp_path / "photos" / ("ab"[number % 2] if number < 40 else f"small{number}") / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(field).save(place)
    notes = curated(tmp_path / "photos", tmp_path).notes
    about_classes = [note for note in notes if "'small40'" in note]
    assert len(about_classes) == 3  # too few images; none in val; none in test
    assert all("20 classes ('small40'" in note and "'small44' and 15 more)" in note for note in about_classes)
    assert not any("'small45'" in note for note in notes)


def test_odd_folder(tmp_path: Path) -> None:
    """Good images are used, unusable files are told of with their reasons, and every file is in one table."""
    folder = write_images(tmp_path / "photos", 60)
    (folder / "a/bad.png").write_text("no image")
    (folder / "b/empty.png").touch()
    (folder / "a/cut.png").write_bytes((folder / "a/000.png").read_bytes()[:300])
    Image.new("L", (300, 300)).save(folder / "b/huge.png")
    shutil.copy(folder / "a/002.png", folder / "b/other.png")
    result = curated(folder, tmp_path, max_unreadable=0.2, max_pixels=200 * 200)
    assert kinds(result) == {
        "a/bad.png": "unreadable",
        "b/empty.png": "unreadable",
        "a/cut.png": "unreadable",
        "b/huge.png": "too large",
        "a/002.png": "contradicted",
        "b/other.png": "contradicted",
    }
    reasons = dict(zip(result.quarantine["path"], result.quarantine["reason"], strict=True))
    assert all(reasons.values())
    assert len(result.table) == 59
    told = [path for path, reason in reasons.items() if f"left out {path}: {reason}" in result.notes]
    assert told == list(reasons)[:5]
    assert any("left out 6 files in all (3 unreadable, 2 contradicted, 1 too large)" in note for note in result.notes)


def test_contradicted_twins_are_both_left_out(tmp_path: Path) -> None:
    """The very same image under two labels: nobody knows which is right; each names the other, and none is used."""
    folder = write_images(tmp_path / "photos", 60)
    shutil.copy(folder / "a/000.png", folder / "b/copy.png")
    shutil.copy(folder / "a/000.png", folder / "a/again.png")
    result = curated(folder, tmp_path, max_unreadable=0.1)
    assert set(kinds(result)) == {"a/000.png", "a/again.png", "b/copy.png"}
    said = result.quarantine.set_index("path")["reason"]
    for path in ("a/000.png", "a/again.png"):
        assert "b/copy.png" in said[path]
        assert "'b'" in said[path]
    assert "'a'" in said["b/copy.png"]


def test_identical_twins_are_one_group(tmp_path: Path) -> None:
    """The very same image twice in a class is kept, as one group in one split."""
    folder = write_images(tmp_path / "photos", 60)
    for path in sorted((folder / "a").glob("*.png")):
        shutil.copy(path, path.with_stem(f"{path.stem}-copy"))
    result = curated(folder, tmp_path)
    assert result.quarantine.empty
    of_class = result.table[result.table["label"] == "a"]
    by_content = of_class.groupby("sha256")[["group", "split"]].nunique()
    assert (by_content == 1).all(axis=None)
    assert of_class["group"].nunique() == len(of_class) // 2
    assert set(of_class["split"]) == set(SPLITS)
    assert (result.table[result.table["label"] == "b"]["group"] == "").all()


def test_groups_of_the_user_stay_whole(tmp_path: Path) -> None:
    """What the manifest says belongs together is in one split, under the name it has there; so is what joins it."""
    folder = write_images(tmp_path / "photos", 120)
    rows = [row | {"group": f"patient {number // 6}"} for number, row in enumerate(rows_of(folder))]
    shutil.copy(folder / rows[0]["path"], folder / "twin.png")
    rows.append({"path": "twin.png", "label": rows[0]["label"], "group": ""})
    result = curated(write_table(folder, rows), tmp_path)
    assert result.table.groupby("group")["split"].nunique().eq(1).all()
    assert set(result.table["split"]) == set(SPLITS)
    wanted = {row["path"]: row["group"] for row in rows} | {"twin.png": rows[0]["group"]}
    assert dict(zip(result.table["path"], result.table["group"], strict=True)) == wanted
    assert any("none of which crosses a split" in note for note in result.notes)


def test_near_duplicates_are_one_group(tmp_path: Path) -> None:
    """Darker copies of an image, in other formats, share its split and its group's name."""
    folder = write_images(tmp_path / "photos", 80)
    for path in sorted((folder / "a").glob("*.png")):
        with Image.open(path) as image:
            image.resize((120, 80)).point(lambda value: value * 0.6).save(path.with_suffix(".jpg"), quality=90)
    result = curated(folder, tmp_path, SplitParams())
    of_class = result.table[result.table["label"] == "a"]
    together = of_class.groupby(of_class["path"].str[:-4])[["group", "split"]].nunique()
    assert (together == 1).all(axis=1).mean() > 0.95
    assert of_class["group"].nunique() > 35
    assert result.table[result.table["group"] != ""].groupby("group")["split"].nunique().eq(1).all()


def leaking(folder: Path) -> tuple[Path, set[tuple[str, str]]]:
    """Write given splits that leak by content, by what is shown and by group; return what leaks between which."""
    for number, split in enumerate(SPLITS):
        write_images(folder / split, 30, number)
    shutil.copy(folder / "test/a/000.png", folder / "train/a/copy.png")
    shutil.copy(folder / "test/a/000.png", folder / "train/a/again.png")
    shutil.copy(folder / "test/b/001.png", folder / "val/b/copy.png")
    with Image.open(folder / "val/a/002.png") as image:
        image.point(lambda value: value * 0.7).save(folder / "train/a/darker.png")
    shutil.copy(folder / "train/b/003.png", folder / "train/b/copy.png")
    grouped = {"train/a/004.png", "train/a/006.png", "test/a/004.png"}
    rows = [
        row
        | {"label": Path(row["path"]).parts[1], "split": Path(row["path"]).parts[0]}
        | {"group": "module 1" if row["path"] in grouped else ""}
        for row in rows_of(folder)
    ]
    return write_table(folder, rows), {
        ("test/a/000.png", "train/a/copy.png"),
        ("test/a/000.png", "train/a/again.png"),
        ("test/b/001.png", "val/b/copy.png"),
        ("train/a/darker.png", "val/a/002.png"),
        ("test/a/004.png", "train/a/004.png"),
        ("test/a/004.png", "train/a/006.png"),
    }


def test_given_splits_that_leak_are_reported(tmp_path: Path) -> None:
    """Every pair of images that shows the same across given splits is listed once, and nothing is changed."""
    folder, wanted = leaking(tmp_path / "photos")
    result = curated(folder, tmp_path, SplitParams())
    leaks = [tuple(sorted(pair)) for pair in result.leaks[["path", "twin"]].itertuples(index=False, name=None)]
    assert sorted(leaks) == sorted(wanted)
    for row in result.leaks.itertuples():
        assert (row.split, row.twin_split) == (Path(row.path).parts[0], Path(row.twin).parts[0])
    assert result.quarantine.empty
    assert all(Path(row.path).parts[0] == row.split for row in result.table.itertuples())
    (said,) = [note for note in result.notes if "the given splits leak" in note]
    assert f"{len(wanted)} pairs" in said
    assert "split.repair: true" in said


def test_leaks_are_repaired(tmp_path: Path) -> None:
    """With repair, training images that leak (and validation images, against the test) go, and nothing leaks then."""
    folder, wanted = leaking(tmp_path / "photos")
    result = curated(folder, tmp_path, SplitParams(repair=True))
    worth = {"train": 0, "val": 1, "test": 2}
    wanted_out = {min(pair, key=lambda path: worth[Path(path).parts[0]]) for pair in wanted}
    assert kinds(result) == dict.fromkeys(wanted_out, "leak")
    assert result.leaks.empty
    assert not any("the given splits leak" in note for note in result.notes)
    assert result.table[result.table["group"] != ""].groupby("group")["split"].nunique().eq(1).all()
    for row in result.quarantine.itertuples():
        assert any(other in row.reason for pair in wanted if row.path in pair for other in set(pair) - {row.path})


@given(st.data())
@settings(deadline=None, max_examples=12)
def test_nothing_leaks_after_repair(data: st.DataObject) -> None:
    """Whatever given splits, copies and groups there are: repaired, no copy and no group is in two splits."""
    count = data.draw(st.integers(8, 40))
    files, seen = [], []
    for number in range(count):
        content = data.draw(st.integers(0, 25))
        split = data.draw(st.sampled_from(SPLITS))
        group = data.draw(st.sampled_from(["", "", "", "g1", "g2"]))
        files.append(LabelledFile(f"{number:03}.png", "ab"[content % 2], group=group, split=split))
        seen.append(ImageFacts(8, 8, "L", "PNG", size=9, sha256=f"{content:02x}" * 32))
    # Two classes with an image of their own in every split, so that what is left can always be used.
    for number, split in enumerate(SPLITS * 2):
        files.append(LabelledFile(f"own {number}.png", "ab"[number // 3], split=split))
        seen.append(ImageFacts(8, 8, "L", "PNG", size=9, sha256=f"{100 + number:02x}" * 32))
    ingested = Ingested(Path("unused"), seen, np.zeros((len(files), 32, 32), dtype=np.uint8), {}, 0)
    params = DataParams(source="folder", path="images")
    before = curate(files, ingested, params, BY_CONTENT)
    assert before.quarantine.empty
    after = curate(files, ingested, params, BY_CONTENT.model_copy(update={"repair": True}))
    assert after.leaks.empty
    named = {file.path: file.group for file in files}
    for by in (after.table["sha256"], after.table["path"].map(named), after.table["group"]):
        assert after.table["split"][by != ""].groupby(by[by != ""]).nunique().le(1).all()
    leaked = set(before.leaks["path"]) | set(before.leaks["twin"])
    assert set(after.quarantine["path"]) <= leaked
    assert (len(after.quarantine) > 0) == (len(before.leaks) > 0)
    given_splits = {file.path: file.split for file in files}
    assert all(given_splits[row.path] == row.split for row in after.table.itertuples())
    assert "test" not in set(after.quarantine["path"].map(given_splits))
    crossing = before.table["split"].groupby(before.table["sha256"]).nunique().gt(1).any()
    assert not (crossing and before.leaks.empty)


@pytest.mark.parametrize(("allowed", "stops"), [(0.0, True), (0.09, True), (0.1, False), (1.0, False)])
def test_too_many_unusable_files_stop_the_run(tmp_path: Path, allowed: float, stops: bool) -> None:
    """The user decides how much may be lost; beyond it, one sentence names count, setting and the first file."""
    folder = write_images(tmp_path / "photos", 40)
    for name in ("a/000.png", "b/001.png", "a/002.png", "b/003.png"):
        (folder / name).write_text("gone bad")
    if not stops:
        assert len(curated(folder, tmp_path, max_unreadable=allowed).table) == 36
        return
    with pytest.raises(UserError, match=r"4 of 40 files .* data\.max_unreadable .* a/000\.png \(unreadable") as caught:
        curated(folder, tmp_path, max_unreadable=allowed)
    assert str(caught.value).isprintable()


def test_no_usable_file_is_one_sentence(tmp_path: Path) -> None:
    """Where every loss is tolerated, but nothing is left, that is said."""
    folder = write_images(tmp_path / "photos", 4)
    for path in folder.rglob("*.png"):
        path.write_text("gone bad")
    with pytest.raises(UserError) as caught:
        curated(folder, tmp_path, SplitParams(), max_unreadable=1)
    assert str(caught.value).isprintable()


def test_subset_and_weight_pass_through(tmp_path: Path) -> None:
    """What the user's manifest says of an image beside its label is in the run's manifest, image by image."""
    folder = write_images(tmp_path / "photos", 60)
    rows = [
        row | {"subset": ["mono", "poly", ""][number % 3], "weight": number / 8}
        for number, row in enumerate(rows_of(folder))
    ]
    result = curated(write_table(folder, rows), tmp_path)
    records = result.table[["path", "label", "subset", "weight"]].to_dict("records")
    assert records == [{key: row[key] for key in ("path", "label", "subset", "weight")} for row in rows]


def test_facts_of_the_files_are_in_the_manifest(cells: Path, tmp_path: Path) -> None:
    """Each row tells what its file is, as anyone can check."""
    result = curated(cells, tmp_path, SplitParams())
    assert len(result.table) == 80
    assert set(result.table["split"]) == set(SPLITS)
    for row in result.table.itertuples():
        with Image.open(cells / row.path) as image:
            assert (row.width, row.height, row.mode, row.format) == (*image.size, image.mode, image.format)
        assert row.bytes == (cells / row.path).stat().st_size
        assert row.label == (cells / row.path).parent.name


@pytest.mark.parametrize("folds", [None, 3])
def test_images_stay_where_an_earlier_manifest_has_them(tmp_path: Path, folds: int | None) -> None:
    """Copies of images that are there already, and others, come in: through the written manifest, nothing moves."""
    split = SplitParams(folds=folds)
    folder, target = write_images(tmp_path / "photos", 80), tmp_path / "manifest.parquet"
    first = curated(folder, tmp_path, split)
    manifest.write_table(first.table, manifest.MANIFEST, target)
    for path in sorted(folder.rglob("*.png"))[::4]:
        with Image.open(path) as image:
            image.point(lambda value: value * 0.8).save(path.with_stem(f"0-{path.stem}"))
    write_images(folder / "a" / "more", 30, seed=1)
    earlier = manifest.read_earlier(target, split)
    assert earlier.splits == splits_by_content(first)
    again = curated(folder, tmp_path, split, earlier)
    assert len(again.table) == 80 + 20 + 30
    both = first.table.merge(again.table, on="sha256")
    assert len(both) == 80
    assert both["split_x"].tolist() == both["split_y"].tolist()
    assert both["fold_x"].tolist() == both["fold_y"].tolist()
    assert again.table[again.table["group"] != ""].groupby("group")["split"].nunique().eq(1).all()


def test_image_between_splits_is_quarantined(tmp_path: Path) -> None:
    """Of later files that would join images of two splits, one is left out and told of; the others stay."""
    folder = write_images(tmp_path / "photos", 60)
    first = curated(folder, tmp_path)
    trained, tested = (first.table[first.table["split"] == split].iloc[0] for split in ("train", "test"))
    rows = [row | {"group": ""} for row in rows_of(folder)]
    write_images(folder / "later", 2, seed=5)
    rows += [{"path": f"later/{name}", "label": name[0], "group": "new"} for name in ("a/000.png", "b/001.png")]
    by_path = {row["path"]: row for row in rows}
    by_path[trained["path"]]["group"] = "old one"
    by_path[tested["path"]]["group"] = "old two"
    for name, source in (("a/000.png", trained), ("b/001.png", tested)):
        with Image.open(folder / source["path"]) as image:
            image.point(lambda value: value * 0.8).save(folder / "later" / name)
    target = tmp_path / "manifest.parquet"
    manifest.write_table(first.table, manifest.MANIFEST, target)
    split = SplitParams()
    result = curated(write_table(folder, rows), tmp_path, split, manifest.read_earlier(target, split))
    (left_out,) = kinds(result)
    assert kinds(result) == {left_out: "between splits"}
    assert left_out.startswith("later/")
    splits = splits_by_content(result)
    assert splits_by_content(first).items() <= splits.items()
    assert len(splits) == len(first.table) + 1
    table = result.table.set_index("path")
    assert table.loc[trained["path"], "group"] != table.loc[tested["path"], "group"]
    assert table[table["group"] != ""].groupby("group")["split"].nunique().eq(1).all()


Damage = Callable[[Path], None]
DAMAGES: dict[str, Damage] = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b"") and None,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-100]) and None,
    "text": lambda path: path.write_text("path,label\na,b\n") and None,
    "other columns": lambda path: pd.read_parquet(path).drop(columns="fold").to_parquet(path),
    "other values": lambda path: pd.read_parquet(path).assign(split="validation").to_parquet(path),
    "without its params": lambda path: pd.DataFrame(pd.read_parquet(path).to_dict("list")).to_parquet(path),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of a run; tests must not change it."""
    folder = tmp_path_factory.mktemp("written")
    result = curated(write_images(folder / "photos", 40), folder)
    manifest.write_table(result.table, manifest.MANIFEST, folder / "manifest.parquet")
    return folder / "manifest.parquet"


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_manifest_is_not_remembered(written: Path, tmp_path: Path, damage: str) -> None:
    """A manifest that is gone, damaged or of an older version stops no run: splits are drawn anew."""
    source = Path(shutil.copy(written, tmp_path))
    assert manifest.read_earlier(source, BY_CONTENT).splits
    DAMAGES[damage](source)
    assert manifest.read_earlier(source, BY_CONTENT) == EarlierPlaces()


@pytest.mark.parametrize(
    ("changed", "remembered"),
    [
        ({"seed": 1}, False),
        ({"test": 0.3}, False),
        ({"validation": 0.2}, False),
        ({"folds": 4}, False),
        ({"repair": True}, True),
        ({"near_duplicates": 0.8}, True),
    ],
)
def test_other_shares_or_seed_draw_anew(written: Path, changed: dict[str, Any], remembered: bool) -> None:
    """Whoever asks for other shares, another seed or folds gets them; other settings carry no image over."""
    earlier = manifest.read_earlier(written, BY_CONTENT.model_copy(update=changed))
    assert bool(earlier.splits) == remembered


def test_every_copy_that_leaks_is_repaired(tmp_path: Path) -> None:
    """Several training copies of one test image all go, not only the one that is listed next to it."""
    for number, split in enumerate(SPLITS):
        write_images(tmp_path / "photos" / split, 10, number)
    for name in ("train/a/x.png", "train/a/y.png", "train/a/z.png"):
        shutil.copy(tmp_path / "photos/test/a/000.png", tmp_path / "photos" / name)
    result = curated(tmp_path / "photos", tmp_path, BY_CONTENT.model_copy(update={"repair": True}))
    assert kinds(result) == dict.fromkeys(["train/a/x.png", "train/a/y.png", "train/a/z.png"], "leak")


def test_tiny_class_never_stops_a_fold(tmp_path: Path) -> None:
    """Whichever fold is validated, a class with one or two images is trained on; the others take part in every fold."""
    folder = write_images(tmp_path / "photos", 60)
    (folder / "rare").mkdir()
    for name in ("000.png", "002.png"):
        (folder / "a" / name).rename(folder / "rare" / name)
    for fold in range(4):
        table = curated(folder, tmp_path, split=BY_CONTENT.model_copy(update={"folds": 4, "fold": fold})).table
        assert set(table.loc[table["label"] == "rare", "split"]) == {"train"}
        assert {"a", "b"} <= set(table.loc[table["split"] == "val", "label"])


def test_every_oddity_of_real_folders(tmp_path: Path) -> None:
    """Each ends where the rules say, and the counts agree."""
    folder = write_images(tmp_path / "photos", 80)
    (folder / "a").rename(folder / "yes")
    (folder / "b").rename(folder / "no")
    some = sorted((folder / "yes").iterdir())
    images = [Image.open(path).convert("RGB") for path in some]
    images[0].save(folder / "yes/named.jpg", format="PNG")
    images[1].convert("RGBA").save(folder / "yes/alpha.png")
    images[2].quantize(32).save(folder / "yes/palette.gif")
    turned = Image.Exif()
    turned[0x0112] = 6
    images[3].transpose(Image.Transpose.ROTATE_90).save(folder / "yes/phone.jpg", exif=turned, quality=95)
    deep = np.asarray(images[4].convert("L")).astype(np.uint16) * 13 + 100
    Image.fromarray(deep).save(folder / "yes/deep.tif")
    shutil.copy(some[5], folder / "no/twin.png")
    for gain in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        images[6].point(lambda value, gain=gain: int(value * gain)).save(folder / f"yes/exposed {gain}.png")
    (folder / "lonely").mkdir()
    some[7].rename(folder / "lonely/only.png")
    (folder / "no/notes.png").write_text("no image")
    result = curated(folder, tmp_path, split=SplitParams())
    assert kinds(result) == {
        "no/twin.png": "contradicted",
        f"yes/{some[5].name}": "contradicted",
        "no/notes.png": "unreadable",
    }
    table = result.table.set_index("path")
    assert len(table) == 80 + 5 + 6 + 2 - len(result.quarantine)
    assert set(table["label"]) == {"yes", "no", "lonely"}
    assert table.loc["lonely/only.png", "split"] == "train"
    assert any("'lonely'" in note for note in result.notes)
    facts = {name: table.loc[f"yes/{name}", "format"] for name in ("named.jpg", "palette.gif", "deep.tif")}
    assert facts == {"named.jpg": "PNG", "palette.gif": "GIF", "deep.tif": "TIFF"}
    copies = {0: "named.jpg", 1: "alpha.png", 2: "palette.gif", 3: "phone.jpg", 4: "deep.tif"}
    for number, name in copies.items():
        assert table.loc[f"yes/{name}", "group"] == table.loc[f"yes/{some[number].name}", "group"] != ""
    exposed = table[table.index.str.startswith("yes/exposed")]
    assert exposed["group"].nunique() == exposed["split"].nunique() == 1
    assert table.loc[f"yes/{some[6].name}", "group"] == exposed["group"].iloc[0]
    assert table[table["group"] != ""].groupby("group")["split"].nunique().max() == 1
