"""What the repeats of a strategy see and are called."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.params import SharedParams
from tasks.runs.prepared import PreparedData
from tasks.runs.repeats import FIRST, repeats


def prepared(sizes: list[int]) -> PreparedData:
    """Return data with so many training images of each class, and one validation image of each."""
    labels = [f"class{place}" for place, size in enumerate(sizes) for _ in range(size)]
    held_out = [f"class{place}" for place in range(len(sizes))]
    splits = ["train"] * len(labels) + ["val"] * len(held_out)
    table = pd.DataFrame({"label": labels + held_out, "split": splits}).sample(frac=1, random_state=1)
    return PreparedData(table.reset_index(drop=True), np.empty(0), sorted(set(labels)), None)  # type: ignore[arg-type]


@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=5),
    st.lists(st.floats(0.01, 0.99), min_size=2, max_size=2, unique=True),
    st.integers(0, 9),
)
@settings(max_examples=30, deadline=None)
def test_a_share_holds_every_class_and_lies_in_larger_ones(sizes: list[int], shares: list[float], seed: int) -> None:
    """No class is lost, none has more than its share and one image, and what is held out stays."""
    data, (small, large) = prepared(sizes), sorted(shares)
    less, more = (data.thinned(share, seed) for share in (small, large))
    assert set(less.rows("train").index) <= set(more.rows("train").index) <= set(data.rows("train").index)
    counts, all_of = (split.rows("train")["label"].value_counts().sort_index() for split in (less, data))
    assert set(counts.index) == set(all_of.index)
    assert (counts >= all_of * small - 1e-6).all()
    assert (counts < all_of * small + 1).all()
    assert less.rows("val").equals(data.rows("val"))
    assert data.thinned(1, seed) is data


def test_every_repeat_has_a_name_of_its_own() -> None:
    """The first has none; seeds come before shares, and shares are sorted."""
    asked = SharedParams(seeds=3, shares=(0.5, 0.1, 0.5))
    assert [repeat.name for repeat in repeats(asked)] == ["", "seed-1", "seed-2", "share-0.1", "share-0.5"]
    assert repeats(SharedParams()) == [FIRST]


def test_every_fine_tuning_is_repeated_on_every_fold() -> None:
    """Seeds and shares, too; the first of all validates on the first fold, and all names differ."""
    asked = SharedParams(seeds=2, shares=(0.5,))
    on_every_fold = repeats(asked, folds=2)
    names = ["", "fold-1", "seed-1", "seed-1-fold-1", "share-0.5", "share-0.5-fold-1"]
    assert [repeat.name for repeat in on_every_fold] == names
    assert on_every_fold[0] == FIRST
    assert [repeat for repeat in on_every_fold if not repeat.fold] == repeats(asked)


def test_a_fold_is_validated_on_and_all_others_are_trained_on() -> None:
    """What is tested on stays out of all of them, and what is in no fold is always trained on."""
    folds = [0, 1, 2, 0, 1, 2, -1, -1]
    splits = ["test" if place == 7 else "val" if fold == 0 else "train" for place, fold in enumerate(folds)]
    table = pd.DataFrame({"label": ["a", "b"] * 4, "split": splits, "fold": folds})
    data = PreparedData(table, np.empty(0), ["a", "b"], None)  # type: ignore[arg-type]
    assert data.on_fold(0) is data
    for fold in (0, 1, 2):
        on_fold = data.on_fold(fold)
        assert on_fold.rows("val").index.tolist() == [fold, fold + 3]
        assert on_fold.rows("test").index.tolist() == [7]
        assert 6 in on_fold.rows("train").index
