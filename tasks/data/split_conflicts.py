"""Groups whose images were given, or had before, different splits: which images move, and which are left out.

Where an image was is a split, or a fold (``fold 2``): images of different folds are kept apart as those of splits are.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tasks.arrays import Flags, Pairs
from tasks.data.groups import components, linked_pairs, members
from tasks.data.split_draws import SplitDraws

FOLD = "fold "


def split_of(place: str) -> str:
    """Return the split of where an image was; a fold is trained on, except by the run that validates on it."""
    return "train" if place.startswith(FOLD) else place


def bridge_reason(places: Collection[str]) -> str:
    """Return why an image is left out that belongs with images in different places."""
    names = sorted(set(places) - {""})
    return f"belongs together with images of different splits or folds ({', '.join(names)}), which it would join"


def follow_given(was: list[str], images: pd.DataFrame, drawn: Flags, linked: Pairs) -> tuple[dict[int, str], set[int]]:
    """Let images that have no split yet follow those they belong with that the source gave one.

    Args:
        was: where each image was; those that follow get their split here.
        images: with the column ``given``.
        drawn: which images are drawn, rather than kept where the source put them.
        linked: places of images that belong together.

    Returns:
        Why images that belong with several given splits are left out, by their places; the places of those that follow.
    """
    groups = components(len(images), linked)
    given = images["given"].where(~drawn, "")
    splits: dict[int, set[str]] = {}
    for number, split in zip(groups[given != ""], given[given != ""], strict=True):
        splits.setdefault(int(number), set()).add(split)
    left_out, followers = {}, set()
    for place in np.flatnonzero(drawn & (images["given"] == "").to_numpy() & np.isin(groups, list(splits))):
        candidates = splits[int(groups[place])]
        if len(candidates) > 1:
            left_out[int(place)] = bridge_reason(candidates)
            continue
        followers.add(int(place))
        was[place] = was[place] or next(iter(candidates))
    return left_out, followers


def settle(
    group: list[int], was: Sequence[str], images: pd.DataFrame, pairs: Pairs, draws: SplitDraws
) -> tuple[dict[int, str], list[int]]:
    """Settle a group whose images were assigned to different splits.

    Images that were assigned before and belong together without the new ones get one split, which moves some of them:
    that happens only where they were not known to belong together. Of the new images, taken in the order of their
    digests, those are left out that would join what is in different splits; the others go where they belong.

    Returns:
        Splits by place, places left out.
    """
    old = [i for i in group if was[i]]
    renumbered = np.searchsorted(old, linked_pairs(images.loc[old], pairs))
    splits = dict[int, str]()
    numbers = components(len(old), renumbered)
    for part in members(numbers, np.ones(len(old), dtype=bool)):
        places = [old[i] for i in part]
        candidates = {split_of(was[i]) for i in places}
        split = candidates.pop() if len(candidates) == 1 else draws.split(places)
        splits |= dict.fromkeys(places, split)
    new = sorted((i for i in group if not was[i]), key=lambda i: str(images["sha256"][i]))
    return _join_new(splits, new, was, _neighbours(group, images, pairs), draws)


@dataclass
class _Clusters:
    """Sets of images that belong together, as new ones join them.

    Attributes:
        number_of: the cluster that an image, or what stands for a group, is in.
        members: of each cluster.
        settled: where a cluster has to be, if that is decided.
    """

    number_of: dict[int, int] = field(default_factory=dict)
    members: dict[int, list[int]] = field(default_factory=dict)
    settled: dict[int, str] = field(default_factory=dict)

    def merge(self, image: int, stand_ins: Sequence[int], numbers: Collection[int], place: str) -> None:
        """Put an image and what stands for its group and content into one cluster with others.

        Args:
            image: which also numbers the cluster.
            stand_ins: what stands for its group and its content, and is in no cluster yet.
            numbers: of the clusters that it joins.
            place: where the cluster has to be; empty: where one of those that it joins has to be, if any has.
        """
        fixed = {self.settled.pop(number) for number in numbers if number in self.settled}
        joined = [member for number in numbers for member in self.members.pop(number)]
        self.members[image] = [image, *stand_ins, *joined]
        self.number_of |= dict.fromkeys(self.members[image], image)
        if place or fixed:
            self.settled[image] = place or fixed.pop()


def _join_new(
    splits: dict[int, str],
    new: Sequence[int],
    was: Sequence[str],
    neighbours: Mapping[int, set[int]],
    draws: SplitDraws,
) -> tuple[dict[int, str], list[int]]:
    """Add new images one by one to those that have a split; return splits by place, and the places left out."""
    clusters = _Clusters()
    left_out = []
    for i in (*splits, *new):
        place = _place(i, splits, was) if i in splits else ""
        near = neighbours[i]
        joins = {clusters.number_of[other] for other in near if other in clusters.number_of}
        if place:  # what was apart stays apart, although something new may join it
            joins = {number for number in joins if clusters.settled.get(number) == place}
        elif len({clusters.settled[number] for number in joins if number in clusters.settled}) > 1:
            left_out.append(i)
            continue
        stand_ins = [other for other in near if other < 0 and other not in clusters.number_of]
        clusters.merge(i, stand_ins, joins, place)
    for number, cluster in clusters.members.items():
        images = [member for member in cluster if member >= 0]
        split = split_of(clusters.settled[number]) if number in clusters.settled else draws.split(images)
        splits |= {i: split for i in images if i not in splits}
    return splits, left_out


def _neighbours(group: Sequence[int], images: pd.DataFrame, pairs: Pairs) -> dict[int, set[int]]:
    """Return, for each image, those that show the same, and what stands for its group and its content: below zero."""
    near: dict[int, set[int]] = {i: set() for i in group}
    for first, second in pairs[np.isin(pairs, group).all(axis=1)].tolist():
        near[first].add(second)
        near[second].add(first)
    stand_ins: dict[tuple[str, str], int] = {}
    for column in ("group", "sha256"):
        for i in group:
            if images.loc[i, column]:
                near[i].add(stand_ins.setdefault((column, str(images.loc[i, column])), -1 - len(stand_ins)))
    return near


def _place(i: int, splits: Mapping[int, str], was: Sequence[str]) -> str:
    """Return the split that an image has, or the fold."""
    return was[i] if was[i].startswith(FOLD) else splits[i]
