"""Splits: what may move an image, and what may not."""

import hashlib
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.data.sources import list_files
from tasks.data.splits import SPLITS, assign, check
from tasks.errors import UserError
from tasks.params import DataParams, SplitParams
from tests.conftest import packaged_cells

Row = tuple[str, str, str]
SHARES = st.tuples(st.floats(0.01, 0.98), st.floats(0.01, 0.98)).filter(lambda pair: sum(pair) < 0.99)
PARAMS = st.builds(
    lambda shares, seed: SplitParams(validation=shares[0], test=shares[1], seed=seed), SHARES, st.integers(0, 2**31)
)
IMAGE = st.tuples(st.binary(min_size=4, max_size=4).map(lambda b: hashlib.sha256(b).hexdigest()), st.sampled_from("ab"))
IMAGES = st.lists(IMAGE, max_size=40)
GIVEN = st.sampled_from(SPLITS)
MANY = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(20_000)]


def split_of(rows: list[Row], params: SplitParams) -> list[str]:
    """Assign rows of (digest, label, given split)."""
    return assign([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows], params)


@given(IMAGES, IMAGES, PARAMS)
def test_added_images_move_no_other(
    old: list[tuple[str, str]], new: list[tuple[str, str]], params: SplitParams
) -> None:
    """More data never carries an image over from one split to another."""
    before = split_of([(*image, "") for image in old], params)
    after = split_of([(*image, "") for image in old + new], params)
    assert after[: len(old)] == before


@given(st.data(), IMAGES, PARAMS)
def test_order_of_listing_does_not_matter(
    data: st.DataObject, images: list[tuple[str, str]], params: SplitParams
) -> None:
    """Another file system, another order, the same splits."""
    rows = [(*image, "") for image in images]
    order = data.draw(st.permutations(range(len(rows))))
    straight, shuffled = split_of(rows, params), split_of([rows[index] for index in order], params)
    assert shuffled == [straight[index] for index in order]


@given(st.lists(st.tuples(IMAGE, GIVEN), max_size=40), PARAMS)
def test_given_splits_are_kept(images: list[tuple[tuple[str, str], str]], params: SplitParams) -> None:
    """What the source held out stays held out, and nothing of a complete source moves at all."""
    rows = [(*image, split) for image, split in images]
    found = split_of(rows, params)
    for (_, _, was), now in zip(rows, found, strict=True):
        assert was in {now, "train"}
    if {"val", "test"} <= {row[2] for row in rows}:
        assert found == [row[2] for row in rows]


@given(st.lists(IMAGE, min_size=1, max_size=30), PARAMS)
def test_identical_images_of_a_class_share_a_split(images: list[tuple[str, str]], params: SplitParams) -> None:
    """A copy of a training image never lands in the test split."""
    found = split_of([(*image, "") for image in images * 2], params)
    assert found[: len(images)] == found[len(images) :]


@pytest.mark.parametrize(("held_out", "lacking"), [("test", "val"), ("val", "test")])
def test_missing_held_out_split_is_carved_from_train(held_out: str, lacking: str) -> None:
    """A source with one held-out split gets the other from its train, at its share of all images."""
    params = SplitParams(validation=0.2, test=0.3)
    share = {"val": 0.2, "test": 0.3}
    cut = int(len(MANY) * share[held_out])
    rows = [(digest, "a", held_out if index < cut else "train") for index, digest in enumerate(MANY)]
    found = split_of(rows, params)
    assert found[:cut] == [held_out] * cut
    counts = Counter(found[cut:])
    assert set(counts) == {"train", lacking}
    assert counts[lacking] / len(MANY) == pytest.approx(share[lacking], abs=0.01)


def test_another_seed_is_another_split() -> None:
    """The seed draws anew; the same seed draws the same."""
    rows = [(digest, "a", "") for digest in MANY[:500]]
    first, again, other = (split_of(rows, SplitParams(seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert 0.2 < sum(a != b for a, b in zip(first, other, strict=True)) / 500 < 0.9


def test_classes_are_drawn_independently() -> None:
    """The draw of one class says nothing of another's: two classes of the same images split differently."""
    one, two = (split_of([(digest, label, "") for digest in MANY[:500]], SplitParams()) for label in "ab")
    assert one != two


@given(PARAMS)
@settings(deadline=None, max_examples=15)
def test_shares_hold_in_expectation(params: SplitParams) -> None:
    """Over many images, each split's share is the one asked for (five standard deviations at most away)."""
    counts = Counter(split_of([(digest, "a", "") for digest in MANY[:4000]], params))
    for split, share in (("val", params.validation), ("test", params.test)):
        assert counts[split] / 4000 == pytest.approx(share, abs=5 * (share * (1 - share) / 4000) ** 0.5)


@pytest.fixture(scope="module")
def solar_cells() -> pd.DataFrame:
    """Label and content digest of each of the packaged images."""
    folder = packaged_cells()
    files = list_files(DataParams(source="elpv", path=str(folder)))
    digests = [hashlib.sha256((folder / file.path).read_bytes()).hexdigest() for file in files]
    return pd.DataFrame({"label": [file.label for file in files], "digest": digests})


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shares_hold_for_every_class_of_the_solar_cells(solar_cells: pd.DataFrame, seed: int) -> None:
    """On the 2,624 real images, each class has about its share in each split."""
    params = SplitParams(validation=0.15, test=0.25, seed=seed)
    assert len(solar_cells) == 2624
    found = split_of(
        [(digest, label, "") for digest, label in zip(solar_cells["digest"], solar_cells["label"], strict=True)], params
    )
    shares = pd.crosstab(solar_cells["label"], pd.Series(found), normalize="index")
    assert list(shares.index) == ["defective", "functional"]
    for split, share in (("train", 0.6), ("val", 0.15), ("test", 0.25)):
        assert shares[split].to_numpy() == pytest.approx(share, abs=0.06)


def table(**counts: str) -> tuple[pd.Series, pd.Series]:
    """Return labels and splits from ``label="train train val"``."""
    pairs = [(label, split) for label, text in counts.items() for split in text.split()]
    return pd.Series([pair[0] for pair in pairs]), pd.Series([pair[1] for pair in pairs])


def test_complete_splits_need_no_word() -> None:
    """Every class in every split: no warning."""
    assert check(*table(a="train val test", b="train val test")) == []


def test_class_that_a_held_out_split_lacks_is_warned_of() -> None:
    """A class without a test image is named, with the split."""
    (warning,) = check(*table(a="train val test", b="train val test", rare="train val"))
    assert "'rare'" in warning
    assert "test split" in warning


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"a": "train val test", "b": "val test"}, "the class 'b' is left to train on"),
        ({"a": "train val test", "b": "train test"}, "the val split has images of fewer than two classes"),
        ({"a": "train val", "b": "train val"}, "the test split has images of fewer than two classes"),
    ],
)
def test_splits_that_carry_no_claim_are_refused(counts: dict[str, str], said: str) -> None:
    """Nothing to train on, or nothing to tell apart, is an error."""
    with pytest.raises(UserError, match=said):
        check(*table(**counts))


def test_split_does_not_depend_on_the_path(tmp_path: Path) -> None:
    """Renaming files moves none of them: the content decides."""
    for name in ("first", "second"):
        for label in "ab":
            (tmp_path / name / label).mkdir(parents=True)
            for index in range(20):
                (tmp_path / name / label / f"{name}{index}.png").write_bytes(f"{label}{index}".encode())

    def by_content(name: str) -> dict[bytes, str]:
        files = list_files(DataParams(source="folder", path=str(tmp_path / name)))
        contents = [(tmp_path / name / file.path).read_bytes() for file in files]
        digests = [hashlib.sha256(content).hexdigest() for content in contents]
        rows = [(digest, file.label, file.split) for digest, file in zip(digests, files, strict=True)]
        return dict(zip(contents, split_of(rows, SplitParams()), strict=True))

    assert by_content("first") == by_content("second")
