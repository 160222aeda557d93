"""Splits that are seeded, keep groups whole, and that no added file and no order of listing changes."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tasks.arrays import Flags, Integers, Pairs
from tasks.data.groups import components, linked_pairs, members
from tasks.data.split_completion import DrawnSplits
from tasks.data.split_conflicts import FOLD, bridge_reason, follow_given, settle, split_of
from tasks.data.split_draws import SplitDraws, drawn_images
from tasks.errors import NOTED, UserError, listed
from tasks.params import SplitParams

SPLITS = ("train", "val", "test")
HELD_OUT = ("val", "test")


@dataclass(frozen=True)
class Assignment:
    """Where every image went.

    Attributes:
        splits: ``train``, ``val`` or ``test``; empty for an image that is left out.
        groups: a number an image; images of one group are in one split.
        left_out: why an image is left out, by its place.
        moved: places of images that an earlier assignment had in another split.
        small: classes with too few images to be in every split; all of theirs are trained on.
    """

    splits: list[str]
    groups: Integers
    left_out: dict[int, str] = field(default_factory=dict)
    moved: tuple[int, ...] = ()
    small: tuple[str, ...] = ()


def assign(
    images: pd.DataFrame,
    pairs: Pairs,
    params: SplitParams,
    earlier: Mapping[str, str] | None = None,
    folds: Mapping[str, int] | None = None,
) -> Assignment:
    """Return the split of every image.

    Splits that the source gave are kept; a held-out split that it lacks is carved from its ``train``. All others are
    drawn a group at a time, by the content of one image of it, so that the shares hold in expectation, not to the
    image. Where a split got nothing of a class that has enough, the group whose draw was nearest to it moves there. An
    image that was assigned before stays where it was, unless its class would be lacking somewhere; one that came later
    follows its group. One that would join groups which are in different splits is left out.

    Args:
        images: columns ``sha256``, ``label``, ``given`` (a split or empty) and ``group`` (the source's, or empty).
        pairs: places of images that show the same.
        params: shares and seed.
        earlier: the split that an earlier assignment with the same params gave an image, by its digest.
        folds: the fold that it gave an image; images of different folds are kept apart as those of splits are.
    """
    images = images.reset_index(drop=True)
    pairs = pairs.reshape(-1, 2)
    drawn = drawn_images(images["given"], params)
    was = _earlier_places(images["sha256"], drawn, params, earlier or {}, folds or {})
    draws = SplitDraws(images, params)
    left_out, followers = follow_given(was, images, drawn, linked_pairs(images, pairs))
    drawn &= _all_but(left_out, len(images))
    splits, bridges = _place_groups(images, pairs, drawn, was, draws)
    left_out |= bridges
    drawn &= _all_but(left_out, len(images))
    groups = components(len(images), linked_pairs(images[drawn], pairs))
    connected = components(len(images), linked_pairs(images.drop(index=list(left_out)), pairs))
    labels = images["label"].tolist()
    movable = [group for group in members(groups, drawn) if not followers & set(group)]
    as_drawn = DrawnSplits(labels, movable, _independent(labels, connected, left_out), was, draws.position)
    splits = as_drawn.completed(splits, draws.spans, draws.wanted)
    moved = tuple(int(i) for i in np.flatnonzero(drawn) if was[i] and splits[i] != split_of(was[i]))
    return Assignment(splits, connected, left_out, moved, as_drawn.small(splits))


def check(labels: pd.Series, splits: pd.Series) -> list[str]:
    """Return a warning for every held-out split that lacks classes.

    Raises:
        UserError: a class has nothing to train on, or a held-out split has fewer than two classes.
    """
    table = pd.crosstab(labels, splits).reindex(columns=list(SPLITS), fill_value=0)
    untrained = table.index[table["train"] == 0]
    if len(untrained):
        raise UserError(f"no image of the class '{untrained[0]}' is left to train on: add images of it or remove it")
    warnings = []
    for split in HELD_OUT:
        if np.count_nonzero(table[split]) < 2:
            raise UserError(
                f"the {split} split has images of fewer than two classes: add images, or raise its share in params.yaml"
            )
        absent = [str(label) for label in table.index[table[split] == 0]]
        if absent:
            warnings.append(
                f"{counted_classes(absent)} no image in the {split} split: nothing is claimed about "
                f"{'it' if len(absent) == 1 else 'them'} there"
            )
    return warnings


def counted_classes(names: Sequence[str]) -> str:
    """Return the start of a sentence on classes: how many have what follows, and the first of them."""
    quoted = [f"'{name}'" for name in names]
    return f"the class {quoted[0]} has" if len(names) == 1 else f"{len(names)} classes ({listed(quoted, NOTED)}) have"


def _earlier_places(
    digests: pd.Series,
    drawn: Flags,
    params: SplitParams,
    earlier: Mapping[str, str],
    folds: Mapping[str, int],
) -> list[str]:
    """Return the split or the fold that each image that is drawn had before; empty for those that had none."""
    places = dict(earlier)
    if params.divisions:
        places = {digest: "train" if split == "val" else split for digest, split in places.items()}
        places |= {digest: f"{FOLD}{fold}" for digest, fold in folds.items()}
    return [places.get(digest, "") if is_drawn else "" for digest, is_drawn in zip(digests, drawn, strict=True)]


def _place_groups(
    images: pd.DataFrame, pairs: Pairs, drawn: Flags, was: Sequence[str], draws: SplitDraws
) -> tuple[list[str], dict[int, str]]:
    """Give the images of each group the split that they had, or else the one that is drawn for the group.

    Returns:
        The split of every image; why images are left out, by their places.
    """
    splits = list(images["given"])
    left_out: dict[int, str] = {}
    for group in members(components(len(images), linked_pairs(images[drawn], pairs)), drawn):
        places = {was[i] for i in group} - {""}
        if len(places) < 2:
            split = split_of(places.pop()) if places else draws.split(group)
            for i in group:
                splits[i] = split
        else:
            settled, bridges = settle(group, was, images, pairs, draws)
            left_out |= dict.fromkeys(bridges, bridge_reason(places))
            for i in group:
                splits[i] = settled.get(i, "")
    return splits, left_out


def _all_but(places: Collection[int], count: int) -> Flags:
    """Return which of ``count`` images are not at the places."""
    return ~np.isin(np.arange(count), list(places))


def _independent(labels: Sequence[str], groups: Integers, left_out: Collection[int]) -> dict[str, int]:
    """Return how many independent images each class has: groups, and images that are in none."""
    pairs = {(label, int(groups[i])) for i, label in enumerate(labels) if i not in left_out}
    return dict(Counter(label for label, _ in pairs))
