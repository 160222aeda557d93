"""How much of a score is left on corrupted images, and in the worst group of images."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple, cast

import numpy as np
from pydantic import Field

from tasks.arrays import Floats, Integers, Pixels
from tasks.data.store import unmap
from tasks.evaluation.corruptions import KINDS, SEVERITIES, Kind, corrupt
from tasks.record import Record
from tasks.training.batches import Rows, Split

A_SEVERITY = 50  # images, at least, that it is measured on, if there are so many
SMALLEST_GROUP = 20
LOWER_IS_BETTER = ("ece", "log_loss")


class Robustness(Record):
    """The metric on corrupted validation images (after Hendrycks and Dietterich, ICLR 2019).

    With 250 images or more each is seen under every kind of corruption at one severity: a fifth of them at each,
    another fifth for every kind. With fewer, each is seen at several severities, so that a severity has 50 or all.
    """

    images: int = Field(description="number of images that it was measured on")
    clean: float | None = Field(description="on these images as they are")
    scores: dict[str, list[float | None]] = Field(
        description="of each kind of corruption, at severities 1 to 5, each on its part of the images"
    )
    mean: float | None = Field(description="over all kinds and severities")
    relative_drop: float | None = Field(
        description="share of the clean score that is lost in the mean, part by part on the same images"
    )


class WorstGroup(Record):
    """The group of test images with the worst score of the metric, of those with 20 images or more."""

    name: str = Field(description="of the group")
    score: float = Field(description="its metric")
    images: int = Field(description="number of its images")


@dataclass(frozen=True)
class CorruptedStore:
    """A store whose rows are images under corruptions, made worse as they are read, each the same way every time.

    Attributes:
        store: the images as they are, shape (images, height, width, channels).
        parts: what its rows are, one part behind the other.
        seed: of the corruptions, as in ``corrupt``.
    """

    store: Pixels
    parts: Sequence["Part"]
    seed: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the store."""
        return sum(len(part.rows) for part in self.parts), *self.store.shape[1:]

    def __getitem__(self, rows: Rows) -> Pixels:
        ends = np.cumsum([len(part.rows) for part in self.parts])
        of_part = np.searchsorted(ends, rows, side="right")
        images = np.empty((len(rows), *self.store.shape[1:]), dtype=np.uint8)
        for place in np.unique(of_part):
            part, here = self.parts[place], of_part == place
            chosen = part.rows[rows[here] - (ends[place] - len(part.rows))]
            images[here] = corrupt(self.store[chosen], part.kind, part.severity, self.seed, chosen)
        unmap(self.store)
        return images


class Part(NamedTuple):
    """Images that are seen under a kind of corruption at a severity.

    Attributes:
        places: of the images in their split, rising, shape (images,).
        rows: of the same images in the store.
    """

    kind: Kind
    severity: int
    places: Integers
    rows: Rows


def corrupted(split: Split, parts: Sequence[Part], seed: int) -> Split:
    """Return a split of corrupted images, to be predicted batch by batch: part behind part."""
    places = np.concatenate([part.places for part in parts])
    store = cast(Pixels, CorruptedStore(split.store, parts, seed))
    return Split(store, np.arange(len(places)), split.targets[places])


def parts_of(split: Split, seed: int) -> list[Part]:
    """Return which images of a split are seen under which corruption, by kind and then by severity.

    Every class is spread evenly over the severities. A kind's parts are those of the kind before, a severity on.
    """
    targets = split.targets.numpy()
    order = np.random.default_rng(seed).permutation(len(targets))
    order = order[np.argsort(targets[order], kind="stable")]
    turn = np.empty(len(targets), dtype=np.int64)
    turn[order] = np.arange(len(targets)) % len(SEVERITIES)
    times = min(len(SEVERITIES), math.ceil(A_SEVERITY * len(SEVERITIES) / max(len(targets), 1)))
    parts = []
    for place, kind in enumerate(KINDS):
        for severity in SEVERITIES:
            chosen = np.flatnonzero((severity - 1 - turn - place) % len(SEVERITIES) < times)
            parts.append(Part(kind, severity, chosen, split.rows[chosen]))
    return parts


def robustness(
    predict: Callable[[Split], Floats],
    split: Split,
    clean: Floats,
    metric: Callable[[Integers, Floats], float | None],
    images: int | None = None,
    seed: int = 0,
) -> Robustness:
    """Return a metric under every corruption of the images of a split, and what is lost by it.

    The images and their corruptions depend on the split and the seed alone: strategies are compared on the same ones.

    Args:
        predict: returns the probabilities of a split, shape (images, classes).
        split: the images to draw from.
        clean: the probabilities of the split's images as they are, in the same way.
        metric: of targets and probabilities; higher is better. None: undefined.
        images: how many to draw at most; None: all are used.
        seed: of the images and of their corruptions.
    """
    targets = split.targets.numpy()
    chosen = np.arange(len(split)) if images is None else stratified(targets, images, seed)
    drawn, targets, clean = (
        Split(split.store, split.rows[chosen], split.targets[chosen]),
        targets[chosen],
        clean[chosen],
    )
    parts = parts_of(drawn, seed)
    ends = np.cumsum([len(part.places) for part in parts])[:-1]
    answers = np.split(predict(corrupted(drawn, parts, seed)), ends)
    scores: dict[str, list[float | None]] = {kind: [] for kind in KINDS}
    pairs: list[tuple[float, float]] = []
    for part, corrupt_answers in zip(parts, answers, strict=True):
        of_part = targets[part.places]
        after, before = metric(of_part, corrupt_answers), metric(of_part, clean[part.places])
        scores[part.kind].append(after)
        if after is not None and before is not None:
            pairs.append((before, after))
    before_all, after_all = (fmean(values) for values in zip(*pairs, strict=True)) if pairs else (None, None)
    drop = 1 - after_all / before_all if before_all and after_all is not None else None
    return Robustness(
        images=len(drawn), clean=metric(targets, clean), scores=scores, mean=after_all, relative_drop=drop
    )


def stratified(targets: Integers, count: int, seed: int) -> Rows:
    """Return the places of at most ``count`` images, in order, drawn so that classes keep their shares.

    Every class has at least one image if there are no more classes than ``count``. What is drawn for a lower count is
    among what is drawn for a higher one.
    """
    order = np.random.default_rng(seed).permutation(len(targets))
    turns = np.empty(len(targets))  # which share of its class has its turn before an image
    for c in np.unique(targets):
        of_class = order[targets[order] == c]
        turns[of_class] = np.arange(len(of_class)) / len(of_class)
    by_turn = order[np.argsort(turns[order], kind="stable")]
    return np.sort(by_turn[:count])


def worst_group(
    groups: Mapping[str, Mapping[str, float | None]], metric: str, smallest: int = SMALLEST_GROUP
) -> WorstGroup | None:
    """Return the group with the worst score (Sagawa et al., Distributionally Robust Neural Networks, ICLR 2020).

    Args:
        groups: scores and number of images of each group, as ``metrics.by_group`` returns them.
        metric: name of the score; ``ece`` and ``log_loss`` are worst where they are highest.
        smallest: number of images that a group must have: the score of a few is chance.

    Returns:
        The group, or None if none is large enough and has the metric defined.
    """
    large = [
        WorstGroup(name=name, score=score, images=int(scores["images"] or 0))
        for name, scores in groups.items()
        if (score := scores[metric]) is not None and (scores["images"] or 0) >= smallest
    ]
    worst = max if metric in LOWER_IS_BETTER else min
    return worst(large, key=lambda group: group.score, default=None)
