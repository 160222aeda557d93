"""Splits: what may move an image, and what may not."""

import hashlib
from collections import Counter, defaultdict
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.arrays import Pairs
from tasks.data.curation import curate
from tasks.data.image_facts import ImageFacts
from tasks.data.ingest import Ingested
from tasks.data.manifest import EarlierPlaces
from tasks.data.sources import LabelledFile, elpv, find
from tasks.data.split_completion import SMALLEST
from tasks.data.split_draws import position
from tasks.data.splits import SPLITS, Assignment, assign, check
from tasks.errors import UserError
from tasks.params import DataParams, SplitParams
from tests.support.cells import packaged_cells

Link = tuple[int, int]
SHARES = st.tuples(st.floats(0.01, 0.98), st.floats(0.01, 0.98)).filter(lambda pair: sum(pair) < 0.99)
PARAMS = st.builds(
    lambda shares, seed: SplitParams(validation=shares[0], test=shares[1], seed=seed), SHARES, st.integers(0, 2**31)
)
MANY = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(20_000)]
DIGESTS = st.integers(0, 5000).map(MANY.__getitem__)
LABELS = st.sampled_from(["a", "b", "c", "rare"])
GROUPS = st.sampled_from(["", "", "", "", "p1", "p2", "p3"])
DRAWN = st.just("")
ANY_GIVEN = st.sampled_from(["", *SPLITS])
LAID_OUT = dict(zip(("train", "val", "test"), (0.6, 0.15, 0.25), strict=True))


def table_of(
    digests: list[str], labels: list[str] | str, groups: list[str] | str = "", given: list[str] | str = ""
) -> pd.DataFrame:
    """Return the columns that images are assigned by."""
    return pd.DataFrame({"sha256": digests, "label": labels, "given": given, "group": groups}, dtype="str")


def pairs_of(links: list[Link]) -> Pairs:
    """Return links as an array."""
    return np.array(links, dtype=np.int64).reshape(-1, 2)


@st.composite
def sets(draw: st.DrawFn, given: st.SearchStrategy[str] = DRAWN, least: int = 0) -> pd.DataFrame:
    """Images of four classes, some in groups, some with the same content; one content has one label."""
    rows = draw(st.lists(st.tuples(DIGESTS, LABELS, given, GROUPS), min_size=least, max_size=30))
    labels = {digest: label for digest, label, _, _ in rows}
    digests, _, splits, groups = zip(*rows, strict=True) if rows else ((), (), (), ())
    return table_of(list(digests), [labels[digest] for digest in digests], list(groups), list(splits))


def links_in(count: int) -> st.SearchStrategy[list[Link]]:
    """Pairs of places, in any number and order."""
    place = st.integers(0, max(count - 1, 0))
    return st.lists(st.tuples(place, place), max_size=min(count, 12))


def remembered(images: pd.DataFrame, assigned: Assignment) -> dict[str, str]:
    """Return what an earlier manifest would tell of these images."""
    splits = zip(images["sha256"], assigned.splits, strict=True)
    return {digest: split for digest, split in splits if split}


def single(digests: list[str], label: str, params: SplitParams) -> list[str]:
    """Return the splits of images of one class that have nothing to do with each other."""
    return assign(table_of(digests, label), pairs_of([]), params).splits


@given(st.data(), PARAMS)
@settings(deadline=None, max_examples=40)
def test_added_images_move_no_other(data: st.DataObject, params: SplitParams) -> None:
    """Whatever comes in later, in whatever groups and alike to whatever: images that were there stay.

    Only what a class needs that had too few images to be in every split moves, and it is said.
    """
    old = data.draw(sets())
    links = data.draw(links_in(len(old)))
    first = assign(old, pairs_of(links), params)
    labels = dict(zip(old["sha256"], old["label"], strict=True))
    new = data.draw(sets())
    known = new["sha256"].isin(labels)
    new["label"] = new["sha256"].map(labels).fillna(new["label"])
    new.loc[known, "group"] = ""  # a copy with a group would say something new of images that were there
    both = pd.concat([old, new], ignore_index=True)
    fresh = set(len(old) + np.flatnonzero(~known))
    brought = [link for link in data.draw(links_in(len(both))) if fresh & set(link)]
    again = assign(both, pairs_of(links + brought), params, remembered(old, first))
    changed = [place for place, split in enumerate(first.splits) if again.splits[place] != split]
    assert [place for place in again.moved if place < len(old)] == changed
    assert "" not in first.splits
    assert not changed or any(splits_of(label, old, first) < set(SPLITS) for label in set(both["label"]))
    for place, split in enumerate(again.splits):
        assert (split == "") == (place in again.left_out)
    assert_groups_whole(both, links + brought, again)


def assert_groups_whole(images: pd.DataFrame, links: list[Link], assigned: Assignment) -> None:
    """Check that no two images that belong together, neither of them left out, are in different splits."""
    splits = assigned.splits
    for column in ("group", "sha256"):
        for value, members in images.groupby(column).groups.items():
            if value:
                assert len({splits[i] for i in members} - {""}) <= 1
                assert len({assigned.groups[i] for i in members if splits[i]}) <= 1
    for first, second in links:
        assert splits[first] == splits[second] or "" in {splits[first], splits[second]}
    together = defaultdict(set)
    for split, group in zip(splits, assigned.groups, strict=True):
        together[group].add(split)
    assert all(len(splits_of_group - {""}) <= 1 for splits_of_group in together.values())


@given(st.data(), PARAMS)
@settings(deadline=None, max_examples=30)
def test_unrelated_images_move_no_other_even_if_nothing_is_remembered(data: st.DataObject, params: SplitParams) -> None:
    """Without an earlier manifest, too, images that have nothing to do with those that were there move none of them."""
    old = data.draw(sets(least=1))
    links = data.draw(links_in(len(old)))  # not with the anchors, so that every class is in every split
    anchors = [table_of(one_in_each_split(label, params), label) for label in sorted(set(old["label"]))]
    old = pd.concat([old, *anchors], ignore_index=True)
    new = data.draw(sets())
    new = new[~new["sha256"].isin(old["sha256"])]
    new["group"] = new["group"].where(new["group"] == "", "new")
    inside = [(len(old) + one, len(old) + two) for one, two in data.draw(links_in(len(new)))]
    first = assign(old, pairs_of(links), params)
    again = assign(pd.concat([old, new], ignore_index=True), pairs_of(links + inside), params)
    assert again.splits[: len(old)] == first.splits


def one_in_each_split(label: str, params: SplitParams) -> list[str]:
    """Return contents of a class that are drawn for each of the splits: its small numbers need no help."""
    digests = [hashlib.sha256(f"{label} {number}".encode()).hexdigest() for number in range(2000)]
    drawn = {digest: position(digest, label, params.seed) for digest in digests}
    held_out = params.test + params.validation
    spans = [(0.0, params.test), (params.test, held_out), (held_out, 1.0)]
    return [next(digest for digest in digests if low <= drawn[digest] < high) for low, high in spans]


def splits_of(label: str, images: pd.DataFrame, assigned: Assignment) -> set[str]:
    """Return the splits that a class is in."""
    return {split for split, image_label in zip(assigned.splits, images["label"], strict=True) if image_label == label}


@given(st.data(), PARAMS)
@settings(deadline=None, max_examples=30)
def test_order_of_listing_does_not_matter(data: st.DataObject, params: SplitParams) -> None:
    """Another file system, another order of files and of pairs: the same splits, left-out images and small classes."""
    images = data.draw(sets(ANY_GIVEN))
    count = len(images)
    links = data.draw(links_in(count))
    known = data.draw(st.lists(st.sampled_from(sorted(set(images["sha256"]))), unique=True)) if count else []
    earlier = {digest: data.draw(st.sampled_from(SPLITS)) for digest in known}
    order = data.draw(st.permutations(range(count)))
    to = {place: new for new, place in enumerate(order)}
    turned = [(to[second], to[first]) for first, second in data.draw(st.permutations(links))]
    straight = assign(images, pairs_of(links), params, earlier)
    shuffled = assign(images.iloc[list(order)], pairs_of(turned), params, earlier)
    assert shuffled.splits == [straight.splits[place] for place in order]
    assert {order[new]: reason for new, reason in shuffled.left_out.items()} == straight.left_out
    assert sorted(order[new] for new in shuffled.moved) == sorted(straight.moved)
    assert shuffled.small == straight.small


def test_order_of_listing_does_not_matter_to_groups() -> None:
    """A group goes where it goes, whichever of its images is listed first, and however many groups there are."""
    links = [(place, place + 1) for place in range(299) if (place + 1) % 3]
    order = np.random.default_rng(0).permutation(300)
    to = np.argsort(order)
    images = table_of(MANY[:300], ["a", "b"] * 150)
    straight = assign(images, pairs_of(links), SplitParams()).splits
    shuffled = assign(images.iloc[order], to[pairs_of(links)[::-1]], SplitParams()).splits
    assert shuffled == [straight[place] for place in order]


@given(st.data(), PARAMS)
@settings(deadline=None, max_examples=30)
def test_groups_stay_whole(data: st.DataObject, params: SplitParams) -> None:
    """What belongs together (by the source, by what it shows, by content) is in one split, at first and ever after.

    That holds also if an earlier assignment, which didn't know, had it apart.
    """
    images = data.draw(sets())
    links = data.draw(links_in(len(images)))
    earlier = {digest: data.draw(st.sampled_from(["", *SPLITS])) for digest in sorted(set(images["sha256"]))}
    for known in ({}, {digest: split for digest, split in earlier.items() if split}):
        assigned = assign(images, pairs_of(links), params, known)
        assert_groups_whole(images, links, assigned)
        assert all(known.get(digest) is None for digest in images["sha256"].iloc[list(assigned.left_out)])
        for place, (digest, split) in enumerate(zip(images["sha256"], assigned.splits, strict=True)):
            assert (place in assigned.moved) == (digest in known and known[digest] != split)


@given(st.data(), PARAMS)
@settings(deadline=None, max_examples=30)
def test_given_splits_are_kept(data: st.DataObject, params: SplitParams) -> None:
    """What the source held out stays held out, and nothing of a complete source moves at all."""
    images = data.draw(sets(st.sampled_from(SPLITS)))
    links = data.draw(links_in(len(images)))
    assigned = assign(images, pairs_of(links), params)
    for was, now in zip(images["given"], assigned.splits, strict=True):
        assert was in {now, "train"}
    if {"val", "test"} <= set(images["given"]):
        assert assigned.splits == images["given"].tolist()
    assert assigned.left_out == {}


@pytest.mark.parametrize(("held_out", "lacking"), [("test", "val"), ("val", "test")])
def test_missing_held_out_split_is_carved_from_train(held_out: str, lacking: str) -> None:
    """A source with one held-out split gets the other from its train, at its share of all images."""
    params = SplitParams(validation=0.2, test=0.3)
    share = {"val": 0.2, "test": 0.3}
    cut = int(len(MANY) * share[held_out])
    given_splits = [held_out] * cut + ["train"] * (len(MANY) - cut)
    assigned = assign(table_of(MANY, "a", given=given_splits), pairs_of([]), params).splits
    assert assigned[:cut] == [held_out] * cut
    counts = Counter(assigned[cut:])
    assert set(counts) == {"train", lacking}
    assert counts[lacking] / len(MANY) == pytest.approx(share[lacking], abs=0.01)


def opposite(params: SplitParams) -> tuple[pd.DataFrame, dict[str, str], int, int]:
    """Return images of two classes, their splits, and an image to train on and one of the test."""
    images = table_of(MANY[:60], ["a", "b"] * 30)
    first = assign(images, pairs_of([]), params)
    return images, remembered(images, first), first.splits.index("train"), first.splits.index("test")


@pytest.mark.parametrize("by", ["what they show", "group"])
def test_image_between_splits_is_left_out(by: str) -> None:
    """A later image that shows both a training and a test image goes into neither, and the reason names both splits.

    Of two that would join the two together, one stays.
    """
    params = SplitParams()
    images, earlier, first, second = opposite(params)
    new = table_of([MANY[100], MANY[101]], "a", "p" if by == "group" else "")
    both = pd.concat([images, new], ignore_index=True)
    links = [(first, 60), (second, 61)] if by == "group" else [(first, 60), (60, second), (first, 61)]
    assigned = assign(both, pairs_of(links), params, earlier)
    assert assigned.splits[:60] == list(earlier.values())
    assert len(assigned.left_out) == 1
    assert set(assigned.left_out) <= ({60, 61} if by == "group" else {60})
    assert {assigned.splits[place] for place in assigned.left_out} == {""}
    (kept,) = {60, 61} - set(assigned.left_out)
    assert assigned.splits[kept] == assigned.splits[first if by != "group" or kept == 60 else second]
    assert all("test, train" in reason for reason in assigned.left_out.values())
    assert assigned.groups[first] != assigned.groups[second]


def test_later_image_follows_its_group() -> None:
    """Another photograph of a test object is a test image, however its own content would have been drawn."""
    params = SplitParams()
    images, earlier, first, second = opposite(params)
    for place, split in ((first, "train"), (second, "test")):
        for digest in MANY[100:130]:
            both = pd.concat([images, table_of([digest], "a")], ignore_index=True)
            assert assign(both, pairs_of([(60, place)]), params, earlier).splits[60] == split


def test_new_class_takes_no_test_image_for_itself() -> None:
    """A class whose only image belongs to an old test image does not pull that one into training."""
    params = SplitParams()
    images, earlier, _, tested = opposite(params)
    both = pd.concat([images, table_of([MANY[100]], "new")], ignore_index=True)
    assigned = assign(both, pairs_of([(tested, 60)]), params, earlier)
    assert assigned.splits[:60] == list(earlier.values())
    assert assigned.splits[60] == "test"
    assert assigned.small == ()
    with pytest.raises(UserError, match="the class 'new' is left to train on"):
        check(both["label"], pd.Series(assigned.splits))


def test_class_that_lost_its_training_images_gets_some_again() -> None:
    """Where training images were removed, held-out ones are trained on, and it is said that they moved.

    So is it where those were removed that it was validated on.
    """
    params = SplitParams()
    images, earlier, _, _ = opposite(params)
    splits = images["sha256"].map(earlier)
    kept = images[(images["label"] == "b") | (splits == "test")].reset_index(drop=True)
    assigned = assign(kept, pairs_of([]), params, earlier)
    of_class = kept.index[kept["label"] == "a"]
    assert Counter(assigned.splits[i] for i in of_class) == {"train": 1, "val": 1, "test": len(of_class) - 2}
    assert sorted(assigned.splits[i] for i in assigned.moved) == ["train", "val"]


@given(PARAMS)
@settings(deadline=None, max_examples=15)
def test_shares_hold_in_expectation(params: SplitParams) -> None:
    """Over many images, each split's share is the one asked for (five standard deviations at most away)."""
    counts = Counter(single(MANY[:4000], "a", params))
    for split, share in (("val", params.validation), ("test", params.test)):
        assert counts[split] / 4000 == pytest.approx(share, abs=5 * (share * (1 - share) / 4000) ** 0.5)


@pytest.mark.parametrize("by", ["what they show", "group", "both"])
@pytest.mark.parametrize("size", [2, 8])
def test_shares_hold_also_with_groups(by: str, size: int) -> None:
    """Groups are drawn as images are: their number doesn't make the test split, or any other, more likely."""
    params, count = SplitParams(validation=0.15, test=0.25), len(MANY) // size
    names = [f"group {place // size}" for place in range(count * size)] if by != "what they show" else ""
    links = [(place, place + 1) for place in range(count * size - 1) if (place + 1) % size] if by != "group" else []
    assigned = assign(table_of(MANY[: count * size], ["a", "b"] * (count * size // 2), names), pairs_of(links), params)
    assert len(set(assigned.groups)) == count
    drawn = Counter(assigned.splits[::size])
    for split, share in LAID_OUT.items():
        assert drawn[split] / count == pytest.approx(share, abs=5 * (share * (1 - share) / count) ** 0.5)


@pytest.mark.parametrize("count", range(1, SMALLEST))
@pytest.mark.parametrize("seed", range(12))
def test_small_classes_are_trained_on_and_named(count: int, seed: int) -> None:
    """One or two images can't be in every split: they are trained on, and the class is named."""
    labels = ["a"] * 50 + ["b"] * 50 + ["rare"] * count
    assigned = assign(table_of(MANY[: len(labels)], labels), pairs_of([]), SplitParams(seed=seed))
    assert assigned.splits[100:] == ["train"] * count
    assert assigned.small == ("rare",)


def test_many_images_of_one_thing_are_a_small_class() -> None:
    """Fifty photographs of two objects are two independent images."""
    labels, groups = ["a"] * 50 + ["b"] * 50, [""] * 50 + ["one", "two"] * 25
    assigned = assign(table_of(MANY[:100], labels, groups), pairs_of([]), SplitParams())
    assert assigned.splits[50:] == ["train"] * 50
    assert assigned.small == ("b",)


def test_class_with_images_of_its_own_to_test_is_not_small() -> None:
    """A class that the source holds enough images of out is not said to have none to claim anything by."""
    labels, splits = ["a"] * 40 + ["b"] * 22, (["train"] * 20 + ["test"] * 20) + ["train"] * 2 + ["test"] * 20
    assigned = assign(table_of(MANY[:62], labels, given=splits), pairs_of([]), SplitParams())
    assert sorted(assigned.splits[40:]) == ["test"] * 20 + ["train", "val"]
    assert assigned.small == ()


@given(st.integers(SMALLEST, 6), st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_every_class_has_something_to_train_on(count: int, seed: int) -> None:
    """A class whose images would all be held out keeps one, and only one, to train on; no other class is changed.

    And the class is in the other splits, too.
    """
    params = SplitParams(validation=0.49, test=0.5, seed=seed)
    images = table_of(MANY[: 200 + count], ["a"] * 200 + ["b"] * count)
    assigned = assign(images, pairs_of([]), params)
    drawn = [position(digest, "b", seed) for digest in MANY[200 : 200 + count]]
    trained_on = [place for place, split in enumerate(assigned.splits[200:]) if split == "train"]
    assert trained_on == ([i for i in range(count) if drawn[i] >= 0.99] or trained_on[:1])
    assert set(assigned.splits[200:]) == set(SPLITS)
    assert assigned.splits[:200] == single(MANY[:200], "a", params)
    assert assigned.small == ()


@given(sets(ANY_GIVEN, least=1), PARAMS)
@settings(deadline=None, max_examples=30)
def test_every_class_with_a_free_image_is_trained_on(images: pd.DataFrame, params: SplitParams) -> None:
    """Odd sets (single images, empty classes, partly given splits) are assigned in full, and small classes trained."""
    assigned = assign(images, pairs_of([]), params)
    assert {place for place, split in enumerate(assigned.splits) if split not in SPLITS} == set(assigned.left_out)
    held_out = set(assigned.groups[images["given"].isin(["val", "test"]).to_numpy()])
    for label, rows in images.groupby("label"):
        follow = set(assigned.left_out) & set(rows.index) or held_out & set(assigned.groups[rows.index])
        if not follow:
            assert "train" in {assigned.splits[i] for i in rows.index}
        if label in assigned.small and not follow:
            assert {assigned.splits[i] for i in rows.index} == {"train"}


@given(st.integers(2, 10), st.integers(SMALLEST, 40), st.integers(0, 2**31), st.integers(1, 8))
@settings(deadline=None, max_examples=30)
def test_small_folders_are_never_refused(classes: int, count: int, seed: int, more: int) -> None:
    """From three images a class on, every class is in every split, whatever the seed; more images move none of them."""
    params = SplitParams(seed=seed, folds=None)
    labels = [f"class {place % classes}" for place in range(classes * count + more)]
    both = table_of(MANY[seed % 10_000 :][: len(labels)], labels)
    images = both.head(classes * count)
    assigned = assign(images, pairs_of([]), params)
    assert check(images["label"], pd.Series(assigned.splits)) == []
    assert all(splits_of(label, images, assigned) == set(SPLITS) for label in set(labels[: len(images)]))
    again = assign(both, pairs_of([]), params, remembered(images, assigned))
    assert again.splits[: len(images)] == assigned.splits


@given(st.lists(st.sets(st.sampled_from("abc"), min_size=1), min_size=3, max_size=7), PARAMS, st.data())
@settings(deadline=None, max_examples=40)
def test_every_class_is_in_every_split_if_its_groups_can_be(
    groups: list[set[str]], params: SplitParams, data: st.DataObject
) -> None:
    """Groups of several classes, too, are so divided that every class is everywhere, wherever that is possible.

    That is so whatever an earlier assignment had, and what had to move is counted.
    """
    rows = [(label, f"group {number}") for number, labels in enumerate(groups) for label in sorted(labels)]
    images = table_of(MANY[: len(rows)], [label for label, _ in rows], [group for _, group in rows])
    places = data.draw(st.lists(st.sampled_from(["", *SPLITS]), min_size=len(groups), max_size=len(groups)))
    before = {digest: places[int(group[6:])] for digest, group in zip(images["sha256"], images["group"], strict=True)}
    enough = {label for label in "abc" if sum(label in labels for labels in groups) >= SMALLEST}
    for earlier in ({}, {digest: split for digest, split in before.items() if split}):
        assigned = assign(images, pairs_of([]), params, earlier)
        assert_groups_whole(images, [], assigned)
        complete = all(splits_of(label, images, assigned) == set(SPLITS) for label in enough)
        assert complete or not can_be_everywhere(groups, enough)
        for place, (digest, split) in enumerate(zip(images["sha256"], assigned.splits, strict=True)):
            assert (place in assigned.moved) == (digest in earlier and earlier[digest] != split)


def can_be_everywhere(groups: list[set[str]], enough: set[str]) -> bool:
    """Return whether any way of dividing groups has some classes in every split, and all in training."""

    def fits(splits: tuple[str, ...]) -> bool:
        there = {(label, split) for labels, split in zip(groups, splits, strict=True) for label in labels}
        everywhere = {(label, split) for label in enough for split in SPLITS}
        return there >= everywhere | {(label, "train") for labels in groups for label in labels}

    return any(map(fits, product(SPLITS, repeat=len(groups))))


@given(st.sampled_from(["val", "test"]), st.integers(2, 12), st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_carved_split_has_every_class(held_out: str, count: int, seed: int) -> None:
    """The split that a source lacks gets something of each class that the source gave two training images of."""
    images = table_of(MANY[: 4 * count], ["a", "b"] * 2 * count, given=["train"] * 2 * count + [held_out] * 2 * count)
    assigned = assign(images, pairs_of([]), SplitParams(seed=seed, folds=None))
    assert splits_of("a", images, assigned) == splits_of("b", images, assigned) == set(SPLITS)
    assert assigned.splits[2 * count :] == [held_out] * 2 * count


@given(st.integers(SMALLEST, 12), st.integers(2, 5), st.integers(0, 2**31))
@settings(deadline=None, max_examples=15)
def test_folds_leave_every_class_something_to_validate_on_and_to_test(count: int, folds: int, seed: int) -> None:
    """With folds, too, every class is in the test split, and in two folds at least."""
    rows = [(digest, "ab"[place % 2], "") for place, digest in enumerate(MANY[: 2 * count])]
    result = folded(rows, SplitParams(folds=folds, seed=seed, near_duplicates=False))
    for _, of_class in result.groupby("label"):
        assert (of_class["split"] == "test").any()
        assert of_class.loc[of_class["split"] != "test", "fold"].nunique() >= 2


def test_image_that_follows_a_test_image_is_not_what_completes_a_class() -> None:
    """What belongs with images that the source tests on is not trained on, not even where a class has nothing else."""
    rows = [("test", "P1", "a")] * 3 + [("", "P1", "a")] * 3 + [("", "", "b")] * 20
    images = pd.DataFrame(rows, columns=["given", "group", "label"]).assign(sha256=MANY[: len(rows)])
    for earlier in ({}, dict.fromkeys(MANY[3:6], "test")):
        assigned = assign(images, pairs_of([]), SplitParams(), earlier)
        assert assigned.splits[:6] == ["test"] * 6


def test_another_seed_is_another_split() -> None:
    """The seed draws anew; the same seed draws the same."""
    first, again, other = (single(MANY[:500], "a", SplitParams(seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert 0.2 < sum(a != b for a, b in zip(first, other, strict=True)) / 500 < 0.9


def test_classes_are_drawn_independently() -> None:
    """The draw of one class says nothing of another's: the same contents under two labels meet in a split by chance."""
    params = SplitParams(validation=0.15, test=0.25)
    first, second = (single(MANY[:5000], label, params) for label in "ab")
    by_chance = sum(share**2 for share in LAID_OUT.values())
    assert sum(a == b for a, b in zip(first, second, strict=True)) / 5000 == pytest.approx(by_chance, abs=0.04)


@given(st.lists(DIGESTS, min_size=SMALLEST, unique=True, max_size=30), PARAMS)
@settings(deadline=None, max_examples=30)
def test_single_images_are_drawn_by_content_class_and_seed(digests: list[str], params: SplitParams) -> None:
    """An image that belongs to no other is where its own draw puts it, whatever else is there."""
    assigned = assign(table_of(digests + one_in_each_split("a", params), "a"), pairs_of([]), params).splits
    for digest, split in zip(digests, assigned, strict=False):
        drawn = position(digest, "a", params.seed)
        assert (split == "test") == (drawn < params.test)
        assert (split == "train") == (drawn >= params.test + params.validation)


@pytest.mark.parametrize(
    ("label", "seed", "held_out"),
    [
        ("a", 0, {1: "test", 7: "test", 9: "val"}),
        ("b", 0, {3: "test", 4: "val", 5: "test", 6: "test", 8: "test", 9: "test", 11: "test"}),
        ("a", 7, {7: "test", 11: "val"}),
    ],
)
def test_splits_are_those_of_every_version(label: str, seed: int, held_out: dict[int, str]) -> None:
    """An update of the program carries no image from one split to another: results stay comparable.

    One that was trained on is validated on where nothing of the class was.
    """
    params = SplitParams(validation=0.15, test=0.25, seed=seed)
    image = single(MANY[:12], label, params)
    assert {place: split for place, split in enumerate(image) if split != "train"} == held_out


@pytest.fixture(scope="module")
def solar_cells() -> pd.DataFrame:
    """Label and content digest of each of the packaged images."""
    folder = packaged_cells()
    files = elpv.find(folder, defective_over=0.5).files
    digests = [hashlib.sha256((folder / file.path).read_bytes()).hexdigest() for file in files]
    return table_of(digests, [file.label for file in files])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shares_hold_for_every_class_of_the_solar_cells(solar_cells: pd.DataFrame, seed: int) -> None:
    """On the 2,624 real images, each class has about its share in each split."""
    params = SplitParams(validation=0.15, test=0.25, seed=seed)
    assert len(solar_cells) == 2624
    assigned = assign(solar_cells, pairs_of([]), params).splits
    shares = pd.crosstab(solar_cells["label"], pd.Series(assigned), normalize="index")
    assert list(shares.index) == ["defective", "functional"]
    for split, share in LAID_OUT.items():
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
        files = find(DataParams(source="folder", path=str(tmp_path / name)), tmp_path).files
        contents = [(tmp_path / name / file.path).read_bytes() for file in files]
        digests = [hashlib.sha256(content).hexdigest() for content in contents]
        assigned = assign(table_of(digests, [file.label for file in files]), pairs_of([]), SplitParams())
        return dict(zip(contents, assigned.splits, strict=True))

    assert by_content("first") == by_content("second")


def folded(rows: list[tuple[str, str, str]], params: SplitParams, earlier: EarlierPlaces | None = None) -> pd.DataFrame:
    """Return the manifest of images given as (content, class, group), with one path each."""
    files = [LabelledFile(f"{place}.png", label, group=group) for place, (_, label, group) in enumerate(rows)]
    seen = [ImageFacts(8, 8, "L", "PNG", size=9, sha256=digest) for digest, _, _ in rows]
    ingested = Ingested(Path("unused"), seen, np.zeros((len(rows), 32, 32), dtype=np.uint8), {}, 0)
    data = DataParams(source="folder", path="images")
    return curate(files, ingested, data, params, earlier or EarlierPlaces()).table


PLENTY = [(digest, "ab"[place % 2], "") for place, digest in enumerate(MANY[:140])]
CLUSTERED = [(digest, label, f"object {place // 4}") for place, (digest, label, _) in enumerate(PLENTY)]


@pytest.mark.parametrize("rows", [PLENTY, CLUSTERED], ids=["single images", "groups"])
def test_every_image_is_validated_on_once(rows: list[tuple[str, str, str]]) -> None:
    """Over all folds, each image outside the test split is validated on exactly once; the test split never changes."""
    tables = [folded(rows, SplitParams(folds=4, fold=fold, near_duplicates=False)) for fold in range(4)]
    for fold, table in enumerate(tables):
        pd.testing.assert_series_equal(table["fold"], tables[0]["fold"])
        assert ((table["split"] == "val") == (table["fold"] == fold)).all()
        assert ((table["split"] == "test") == (table["fold"] == -1)).all()
        assert table[table["group"] != ""].groupby("group")[["fold", "split"]].nunique().eq(1).all(axis=None)
    assert set(tables[0]["fold"]) == {-1, 0, 1, 2, 3}
    plain = folded(rows, SplitParams(near_duplicates=False))
    assert (tables[0]["split"] == "test").tolist() == (plain["split"] == "test").tolist()


@given(st.data(), st.integers(0, 3))
@settings(deadline=None, max_examples=8)
def test_added_images_change_no_fold(data: st.DataObject, fold: int) -> None:
    """Later images, also of groups that are there, carry none from one fold to another, nor into the test split."""
    new = data.draw(st.lists(st.integers(300, 900), max_size=12, unique=True))
    groups = st.integers(0, 60).map(lambda number: f"object {number}")
    rows = [(MANY[number], data.draw(st.sampled_from("ab")), data.draw(groups)) for number in new]
    first = folded(CLUSTERED, SplitParams(folds=4, fold=fold, near_duplicates=False))
    earlier = EarlierPlaces(
        dict(zip(first["sha256"], first["split"], strict=True)),
        {row.sha256: row.fold for row in first.itertuples() if row.fold != -1},
    )
    other = data.draw(st.integers(0, 3))
    again = folded(CLUSTERED + rows, SplitParams(folds=4, fold=other, near_duplicates=False), earlier)
    assert again["fold"].tolist()[: len(CLUSTERED)] == first["fold"].tolist()
    assert again.groupby("group")["fold"].nunique().eq(1).all()


def test_image_between_folds_is_left_out() -> None:
    """A later image that shows images of two folds would leak between them: it goes into neither."""
    images = table_of(MANY[:40], ["a", "b"] * 20)
    folds = {digest: place % 4 for place, digest in enumerate(MANY[:40])}
    earlier = dict.fromkeys(MANY[:40], "train") | {digest: "val" for digest, fold in folds.items() if fold == 0}
    both = pd.concat([images, table_of(MANY[100:102], "a")], ignore_index=True)
    for first, second in ((0, 1), (1, 2), (2, 7)):
        assigned = assign(
            both, pairs_of([(first, 40), (second, 40), (second, 41)]), SplitParams(folds=4), earlier, folds
        )
        assert set(assigned.left_out) == {40}
        assert assigned.groups[41] == assigned.groups[second]
        assert f"fold {first % 4}, fold {second % 4}" in assigned.left_out[40]
        assert len(set(assigned.groups)) == len(both) - 1
    assigned = assign(both, pairs_of([(1, 40), (5, 41)]), SplitParams(folds=4), earlier, folds)
    assert assigned.left_out == {}
    assert assigned.groups[1] == assigned.groups[40] != assigned.groups[41]


def test_drawn_images_follow_those_that_the_source_placed() -> None:
    """A patient's images go where the source put the patient; an image of patients of two splits is left out."""
    rows = [("test", "P7"), *[("", "P7")] * 9, ("val", "P8"), ("", "P8"), ("train", "P9"), *[("", "")] * 30]
    images = pd.DataFrame(rows, columns=["given", "group"]).assign(sha256=MANY[: len(rows)], label="a")
    between = np.array([[1, len(rows) - 1], [len(rows) - 1, 11]])
    assigned = assign(images, between, SplitParams(), {})
    kept = [split for place, split in enumerate(assigned.splits) if place not in assigned.left_out]
    assert set(assigned.left_out) == {*range(1, 10), 11, len(rows) - 1}
    assert len(kept) == len(rows) - 11
    assigned = assign(images, between[:0], SplitParams(), {})
    assert assigned.splits[:12] == ["test"] * 10 + ["val"] * 2
    assert not assigned.left_out


def test_one_bridge_does_not_cost_the_others_their_place() -> None:
    """Of many new images of two old groups, only the one that would join the two is left out."""
    images = pd.DataFrame({"given": "", "group": ["A", "B"] * 20, "sha256": MANY[:40], "label": "a"})
    places = dict(zip(MANY[:2], ("train", "val"), strict=True))
    assigned = assign(images, np.array([[38, 39]]), SplitParams(), places)
    assert len(assigned.left_out) == 1
    assert set(assigned.left_out) < {38, 39}
    for place, split in enumerate(assigned.splits):
        assert split == ("" if place in assigned.left_out else ("train", "val")[place % 2])
