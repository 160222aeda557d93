"""Splits that are seeded, keep groups whole, and that no added file and no order of listing changes."""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tasks.data.split_completion import Drawn
from tasks.errors import NOTED, UserError, listed
from tasks.params import SplitParams

SPLITS = ("train", "val", "test")
HELD_OUT = ("val", "test")
FOLD = "fold "

Pairs = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Assigned:
    """Where every image went.

    Attributes:
        splits: ``train``, ``val`` or ``test``; empty for an image that is left out.
        groups: a number an image; images of one group are in one split.
        left_out: why an image is left out, by its place.
        moved: places of images that an earlier assignment had in another split.
        small: classes with too few images to be in every split; all of theirs are trained on.
    """

    splits: list[str]
    groups: Numbers
    left_out: dict[int, str] = field(default_factory=dict)
    moved: tuple[int, ...] = ()
    small: tuple[str, ...] = ()


def position(digest: str, label: str, seed: int) -> float:
    """Return a number in [0, 1) drawn from an image's content, its class and the seed alone.

    Each class is so divided by its own independent draw.
    """
    drawn = hashlib.sha256(f"{seed}:{label}:{digest}".encode()).digest()
    return int.from_bytes(drawn[:7]) / 2**56


def components(count: int, pairs: Pairs) -> Numbers:
    """Return the number of the connected component that each of ``count`` images is in; pairs have shape (n, 2)."""
    pairs = pairs.reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def pairs_of_equal(values: pd.Series) -> Pairs:
    """Return pairs that join all places with the same value; empty text is equal to nothing."""
    names = values[values != ""]
    previous = names.index.to_series().groupby(names.to_numpy()).shift()
    joined = previous.dropna()
    return np.stack([joined.to_numpy(dtype=np.int64), joined.index.to_numpy(dtype=np.int64)], axis=1)


def link(images: pd.DataFrame, pairs: Pairs) -> Pairs:
    """Return pairs that join all images which belong together: by what they show, by group, by content.

    Args:
        images: rows of a table, under their places; pairs with others are left out.
        pairs: places of images that show the same.
    """
    inside = np.isin(pairs, images.index).all(axis=1)
    return np.concatenate([pairs[inside], pairs_of_equal(images["group"]), pairs_of_equal(images["sha256"])])


def assign(
    images: pd.DataFrame,
    pairs: Pairs,
    params: SplitParams,
    earlier: Mapping[str, str] | None = None,
    folds: Mapping[str, int] | None = None,
) -> Assigned:
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
    free = _free(images["given"], params)
    pairs = pairs.reshape(-1, 2)
    places = dict(earlier or {})
    if params.divisions:
        places = {digest: "train" if split == "val" else split for digest, split in places.items()}
        places |= {digest: f"{FOLD}{fold}" for digest, fold in (folds or {}).items()}
    was = [places.get(digest, "") if one else "" for digest, one in zip(images["sha256"], free, strict=True)]
    draws = _Draws(images, params)
    found = list(images["given"])
    left_out, followers = _follow_given(was, images, free, link(images, pairs))
    free &= ~np.isin(np.arange(len(images)), list(left_out))
    groups = components(len(images), link(images[free], pairs))
    for members in _members(groups, free):
        settled = {was[i] for i in members} - {""}
        if len(settled) < 2:
            split = _split(settled.pop()) if settled else draws.split(members)
            for i in members:
                found[i] = split
        else:
            own, out = _disagreeing(members, was, images, pairs, draws)
            left_out |= dict.fromkeys(out, _bridge({was[i] for i in members}))
            for i in members:
                found[i] = own.get(i, "")
    free &= ~np.isin(np.arange(len(images)), list(left_out))
    groups = components(len(images), link(images[free], pairs))
    together = components(len(images), link(images.drop(index=list(left_out)), pairs))
    labels = images["label"].tolist()
    movable = [group for group in _members(groups, free) if not followers & set(group)]
    drawn = Drawn(labels, movable, _independent(labels, together, left_out), was, draws.position)
    found = drawn.completed(found, draws.spans, draws.wanted)
    moved = tuple(int(i) for i in np.flatnonzero(free) if was[i] and found[i] != _split(was[i]))
    return Assigned(found, together, left_out, moved, drawn.small(found))


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


class _Draws:
    """Draws the split of a group from the content of one of its images, and nothing else."""

    def __init__(self, images: pd.DataFrame, params: SplitParams) -> None:
        self._keys = list(zip(images["group"], images["sha256"], images["label"], strict=True))
        self._seed = params.seed
        test, validation = _shares(images["given"], params)
        folded = params.divisions > 0  # what isn't tested on is divided later
        self._test, self._validation = test, 0.0 if folded else validation
        held_out = self._test + self._validation
        spans = {"train": (held_out, 1.0), "val": (test, held_out), "test": (0.0, test)}
        self.spans = {split: span for split, span in spans.items() if span[1] > span[0]}
        self.wanted = {name: 2 if folded and name == "train" else 1 for name in self.spans}

    def position(self, members: Sequence[int]) -> float:
        """Return the draw of a group: that of its named group, or of the image with the least digest."""
        group, digest, label = min((self._keys[i] for i in members), key=lambda key: (key[0] == "", key))
        return position(group, "", self._seed) if group else position(digest, label, self._seed)

    def split(self, members: Sequence[int]) -> str:
        """Return the split of a group."""
        drawn = self.position(members)
        return "test" if drawn < self._test else "val" if drawn < self._test + self._validation else "train"


def _free(given: pd.Series, params: SplitParams) -> npt.NDArray[np.bool_]:
    """Return which images are drawn: those without a split, and ``train`` where a held-out split is carved from it."""
    carved = sum(_shares(given, params)) > 0
    return ((given == "") | ((given == "train") & carved)).to_numpy(copy=True)


def _shares(given: pd.Series, params: SplitParams) -> tuple[float, float]:
    """Return the shares of test and val among the images that are drawn."""
    present = set(given) - {""}
    test = 0.0 if "test" in present else params.test
    val = 0.0 if "val" in present else params.validation
    if "test" in present:
        val /= 1 - params.test
    if "val" in present:
        test /= 1 - params.validation
    return test, val


def _members(groups: Numbers, free: npt.NDArray[np.bool_]) -> list[list[int]]:
    order = np.flatnonzero(free)
    order = order[np.argsort(groups[order], kind="stable")]
    cuts = np.flatnonzero(np.diff(groups[order])) + 1
    return [part.tolist() for part in np.split(order, cuts) if len(part)]


def _follow_given(
    was: list[str], images: pd.DataFrame, free: npt.NDArray[np.bool_], linked: Pairs
) -> tuple[dict[int, str], set[int]]:
    """Let images that have no split yet follow those they belong with that the source gave one.

    Returns:
        Why images that belong with several given splits are left out, by their places; the places of those that follow.
    """
    together = components(len(images), linked)
    given = images["given"].where(~free, "")
    splits: dict[int, set[str]] = {}
    for number, split in zip(together[given != ""], given[given != ""], strict=True):
        splits.setdefault(int(number), set()).add(split)
    left_out, followers = {}, set()
    for place in np.flatnonzero(free & (images["given"] == "").to_numpy() & np.isin(together, list(splits))):
        own = splits[int(together[place])]
        if len(own) > 1:
            left_out[int(place)] = _bridge(own)
            continue
        followers.add(int(place))
        was[place] = was[place] or next(iter(own))
    return left_out, followers


def _disagreeing(
    members: list[int], was: Sequence[str], images: pd.DataFrame, pairs: Pairs, draws: _Draws
) -> tuple[dict[int, str], list[int]]:
    """Settle a group whose images were assigned to different splits.

    Images that were assigned before and belong together without the new ones get one split, which moves some of them:
    that happens only where they were not known to belong together. Of the new images, taken in the order of their
    digests, those are left out that would join what is in different splits; the others go where they belong.

    Returns:
        Splits by place, places left out.
    """
    old = [i for i in members if was[i]]
    renumbered = np.searchsorted(old, link(images.loc[old], pairs))
    own = dict[int, str]()
    numbers = components(len(old), renumbered)
    for part in _members(numbers, np.ones(len(old), dtype=bool)):
        places = [old[i] for i in part]
        settled = {_split(was[i]) for i in places}
        split = settled.pop() if len(settled) == 1 else draws.split(places)
        own |= dict.fromkeys(places, split)
    new = sorted((i for i in members if not was[i]), key=lambda i: str(images["sha256"][i]))
    return _joined(own, new, was, _neighbours(members, images, pairs), draws)


def _joined(
    own: dict[int, str], new: Sequence[int], was: Sequence[str], near: Mapping[int, set[int]], draws: _Draws
) -> tuple[dict[int, str], list[int]]:
    """Add new images one by one to those that have a place; return splits by place, and the places left out."""
    part: dict[int, int] = {}  # the number of the set that an image, or what stands for a group, is in
    members: dict[int, list[int]] = {}
    settled: dict[int, str] = {}
    left_out = []
    for i in (*own, *new):
        place = _place(i, own, was) if i in own else ""
        joins = {part[other] for other in near[i] if other in part}
        if place:  # what was apart stays apart, although something new may join it
            joins = {number for number in joins if settled.get(number) == place}
        elif len({settled[number] for number in joins if number in settled}) > 1:
            left_out.append(i)
            continue
        fixed = {settled.pop(number) for number in joins if number in settled}
        stand_ins = [other for other in near[i] if other < 0 and other not in part]
        members[i] = [i, *stand_ins, *(one for number in joins for one in members.pop(number))]
        part |= dict.fromkeys(members[i], i)
        if place or fixed:
            settled[i] = place or fixed.pop()
    for number, ones in members.items():
        places = [one for one in ones if one >= 0]
        split = _split(settled[number]) if number in settled else draws.split(places)
        own |= {one: split for one in places if one not in own}
    return own, left_out


def _neighbours(members: Sequence[int], images: pd.DataFrame, pairs: Pairs) -> dict[int, set[int]]:
    """Return, for each image, those that show the same, and what stands for its group and its content: below zero."""
    near: dict[int, set[int]] = {i: set() for i in members}
    for one, two in pairs[np.isin(pairs, members).all(axis=1)].tolist():
        near[one].add(two)
        near[two].add(one)
    stand_ins: dict[tuple[str, str], int] = {}
    for column in ("group", "sha256"):
        for i in members:
            if images.loc[i, column]:
                near[i].add(stand_ins.setdefault((column, str(images.loc[i, column])), -1 - len(stand_ins)))
    return near


def _place(i: int, own: Mapping[int, str], was: Sequence[str]) -> str:
    """Return the split that an image has, or the fold."""
    return was[i] if was[i].startswith(FOLD) else own[i]


def _split(place: str) -> str:
    """Return the split of where an image was; a fold is trained on, except by the run that validates on it."""
    return "train" if place.startswith(FOLD) else place


def _bridge(places: Collection[str]) -> str:
    places = sorted(set(places) - {""})
    return f"belongs together with images of different splits or folds ({', '.join(places)}), which it would join"


def _independent(labels: Sequence[str], together: Numbers, left_out: Collection[int]) -> dict[str, int]:
    """Return how many independent images each class has: groups, and images that are in none."""
    pairs = {(label, int(together[i])) for i, label in enumerate(labels) if i not in left_out}
    return dict(Counter(label for label, _ in pairs))
