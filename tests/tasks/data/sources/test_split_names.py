"""Names of folders that are splits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.data.sources.split_names import NOT_LABELLED, roles


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train", "eval"), ("train", "test")),
        (("train", "eval", "test"), ("train", "val", "test")),
        (("train", "dev", "hold-out"), ("train", "val", "test")),
        (("art_train", "art_val", "art_unlabelled"), ("train", "val", NOT_LABELLED)),
        (("Training Images", "Validation Images"), ("train", "val")),
        (("train_1", "train_2", "test_1"), ("train", "train", "test")),
    ],
)
def test_what_names_stand_for(names: tuple[str, ...], splits: tuple[str, ...]) -> None:
    """Each in the company of the others."""
    assert roles(names) == dict(zip(names, splits, strict=True))


@pytest.mark.parametrize(
    "names",
    [("cat", "dog"), ("blood test", "urine test"), ("train", "car"), ("litre", "lite"), ("1", "2"), ("contest", "cat")],
)
def test_what_is_no_split(names: tuple[str, ...]) -> None:
    """One name that is none, or whose beginning is its own, makes all of them something else."""
    assert roles(names) == {}


TEXT = st.text(st.characters(categories=["Ll", "Nd"]), max_size=6)


@given(TEXT, TEXT, st.sampled_from(["_", "-", " ", "."]))
def test_whatever_all_share_does_not_matter(before: str, after: str, mark: str) -> None:
    """Any beginning and any end, if something stands between."""
    start, end = before + mark if before else "", mark + after if after else ""
    names = [f"{start}{split}{end}" for split in ("train", "val", "test")]
    assert roles(names) == dict(zip(names, ("train", "val", "test"), strict=True))
