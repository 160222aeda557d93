"""Folds: when images are divided into them, into how many, and what stays."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.data import manifest
from tasks.data.curation import Curated, curate
from tasks.data.folds import FEW, MANY, MOST, NO_FOLD
from tasks.data.image_facts import ImageFacts
from tasks.data.ingest import Ingested
from tasks.data.manifest import MANIFEST, EarlierPlaces, folds_in, read_earlier, write_table
from tasks.data.sources import LabelledFile
from tasks.params import DataParams, SplitParams

AUTO = SplitParams(near_duplicates=False)


def curated(
    counts: Sequence[int], split: SplitParams = AUTO, before: EarlierPlaces | None = None, given: str = ""
) -> Curated:
    """Return what becomes of so many images of each class, that have nothing to do with each other."""
    named = [
        (f"{label}/{number}.png", f"class {label}") for label, count in enumerate(counts) for number in range(count)
    ]
    files = [LabelledFile(path, label, split=given if path.endswith("/0.png") else "") for path, label in named]
    digests = [hashlib.sha256(path.encode()).hexdigest() for path, _ in named]
    seen = [ImageFacts(8, 8, "L", "PNG", size=9, sha256=digest) for digest in digests]
    ingested = Ingested(Path("unused"), seen, np.zeros((len(named), 32, 32), dtype=np.uint8), {}, 0)
    return curate(files, ingested, DataParams(source="folder", path="images"), split, before or EarlierPlaces())


def outside(table: pd.DataFrame) -> pd.Series:
    """Return how many images of each class aren't tested on."""
    return table[table["split"] != "test"]["label"].value_counts()


@given(st.lists(st.integers(3, 60), min_size=2, max_size=4), st.integers(0, 2**31))
@example([4, 4], 0)
@settings(deadline=None, max_examples=8)
def test_the_smallest_class_decides_on_folds(counts: list[int], seed: int) -> None:
    """Few images of any class: folds, each with every class; enough of all: one validation split. It is said which."""
    result = curated(counts, AUTO.model_copy(update={"seed": seed}))
    table, smallest = result.table, int(outside(result.table).min())
    made = int(table.attrs.get(manifest.FOLDS, 0))
    assert made == (0 if min(counts) >= FEW else min(smallest, MOST))
    assert sum("split.folds: false" in note for note in result.notes) == (made > 0)
    assert set(table["fold"]) == {NO_FOLD, *range(made)}
    assert ((table["fold"] == NO_FOLD) == ((table["split"] == "test") | (made == 0))).all()
    for _, of_class in table[table["fold"] != NO_FOLD].groupby("label"):
        assert set(of_class["fold"]) == set(range(made))


def test_folds_are_made_only_where_nothing_speaks_against_it() -> None:
    """Not where they are switched off, one of them is named, or the source says what is validated on."""
    assert manifest.FOLDS in curated([9, 9]).table.attrs
    assert manifest.FOLDS not in curated([9, 9], AUTO.model_copy(update={"folds": False})).table.attrs
    assert manifest.FOLDS not in curated([9, 9], AUTO.model_copy(update={"folds": 3, "fold": 0})).table.attrs
    assert curated([9, 9], AUTO.model_copy(update={"folds": 3})).table.attrs[manifest.FOLDS] == 3
    assert manifest.FOLDS not in curated([9, 9], given="val").table.attrs


def test_a_rare_class_of_a_large_set_decides_nothing() -> None:
    """Where images are many, one split is validated on, and what it can't tell of the class is said."""
    result = curated([9, 2 * MANY])
    assert manifest.FOLDS not in result.table.attrs
    assert any("'class 0'" in note and "known to" in note for note in result.notes)


def test_a_class_that_is_never_held_out_decides_nothing() -> None:
    """A class of two images is trained on whatever is validated; the others have enough for one split."""
    table = curated([2, 90, 90]).table
    assert manifest.FOLDS not in table.attrs
    assert set(table[table["label"] == "class 0"]["split"]) == {"train"}


def test_a_class_with_fewer_images_than_folds_is_in_the_first() -> None:
    """Where a number of folds is asked for, the first one is validated on with every class that can be held out."""
    table = curated([4, 60], AUTO.model_copy(update={"folds": 10, "fold": 0})).table
    of_class = table[(table["label"] == "class 0") & (table["split"] != "test")]
    assert sorted(of_class["fold"]) == list(range(len(of_class)))


@given(st.integers(8, 14), st.integers(1, 30))
@settings(deadline=None, max_examples=6)
def test_what_was_divided_stays_so_when_images_are_added(count: int, more: int) -> None:
    """What is tested on stays; no image changes its fold while there are as many, nor its split where one is enough."""
    first = curated([count, count]).table
    folds = first[first["fold"] != NO_FOLD]
    before = EarlierPlaces(
        dict(zip(first["sha256"], first["split"], strict=True)),
        dict(zip(folds["sha256"], folds["fold"], strict=True)),
    )
    table = curated([count + more, count + more], before=before).table
    again = table.set_index("path").loc[first["path"]]
    assert (again["split"] == "test").tolist() == (first["split"] == "test").tolist()
    if manifest.FOLDS not in table.attrs:
        assert again["split"].tolist() == first["split"].tolist()
    elif table.attrs[manifest.FOLDS] == first.attrs[manifest.FOLDS]:
        assert again["fold"].tolist() == first["fold"].tolist()


def test_the_number_of_folds_is_kept_with_the_manifest(tmp_path: Path) -> None:
    """Later steps read it; a manifest of before, without folds, still says where its images are."""
    assert folds_in(tmp_path / "manifest.parquet") == 0
    for split in (AUTO, AUTO.model_copy(update={"folds": False})):
        table = curated([9, 9], split).table
        write_table(table, MANIFEST, tmp_path / "manifest.parquet")
        assert folds_in(tmp_path / "manifest.parquet") == table.attrs.get(manifest.FOLDS, 0)
        kept = read_earlier(tmp_path / "manifest.parquet", AUTO)
        assert kept.splits == dict(zip(table["sha256"], table["split"], strict=True))
