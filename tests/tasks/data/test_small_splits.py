"""What is said of validation splits that tell little."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.data.small_splits import ROUGH, Z, independent_images, notes_on_small_classes, wilson_half_width


@given(st.integers(1, 10_000))
def test_half_width_is_where_a_half_is_just_possible(images: int) -> None:
    """An accuracy so far from one half is just as far as chance takes it, by its own standard error."""
    half = wilson_half_width(images)
    assert half == pytest.approx(Z * math.sqrt((0.5 - half) * (0.5 + half) / images))
    assert wilson_half_width(images + 1) < half


def manifest_of(counts: dict[str, int], group: str = "") -> pd.DataFrame:
    """Return so many validation images of each class, and a hundred of each to train on."""
    rows = [(label, split) for label, count in counts.items() for split in ["val"] * count + ["train"] * 100]
    table = pd.DataFrame(rows, columns=["label", "split"])
    return table.assign(path=[f"{n}.png" for n in table.index], group=group, fold=-1)


def test_the_class_with_the_fewest_is_named_in_one_line() -> None:
    """With the number of its images, and how many more classes have few."""
    (line,) = notes_on_small_classes(manifest_of({"a": 5, "b": 3, "c": 200}), 0)
    assert "3 independent images of the class 'b', and few of 1 more" in line
    assert f"± {wilson_half_width(3):.1f}" in line
    assert "split.folds: 5 trains five times and validates on all but the test split" in line
    assert notes_on_small_classes(manifest_of({"a": 200, "b": 100}), 0) == []


def test_images_of_one_thing_count_once() -> None:
    """A hundred photographs of one object tell what one does."""
    table = manifest_of({"a": 100}, group="object")
    assert independent_images(table).to_dict() == {"a": 1}
    assert "1 independent image of" in notes_on_small_classes(table, 0)[0]


def test_with_folds_all_of_them_count() -> None:
    """What is validated on is then what is in any fold."""
    table = manifest_of({"a": 3, "b": 3})
    assert notes_on_small_classes(table.assign(fold=0), 2) == []
    (line,) = notes_on_small_classes(table.assign(fold=[0 if split == "val" else -1 for split in table["split"]]), 2)
    assert "the 2 folds have 3 independent images" in line
    assert "split.folds" not in line
    assert wilson_half_width(103) < ROUGH
