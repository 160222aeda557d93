"""How much of a score is left on corrupted images, and in the worst group of images."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean
from typing import cast

import numpy as np
from pydantic import Field

from tasks.arrays import Floats, Integers, Pixels
from tasks.evaluation.corruptions import KINDS, SEVERITIES, Kind, corrupt
from tasks.record import Record
from tasks.training.batches import Rows, Split

IMAGES = 200
SMALLEST_GROUP = 20
LOWER_IS_BETTER = ("ece", "log_loss")


class Robustness(Record):
    """The metric on corrupted validation images (after Hendrycks and Dietterich, ICLR 2019)."""

    images: int = Field(description="number of images that it was measured on")
    clean: float | None = Field(description="on these images as they are")
    scores: dict[str, list[float | None]] = Field(description="of each kind of corruption, at severities 1 to 5")
    mean: float | None = Field(description="over all kinds and severities")
    relative_drop: float | None = Field(description="share of the clean score that is lost in the mean")


class WorstGroup(Record):
    """The group of test images with the worst score of the metric, of those with 20 images or more."""

    name: str = Field(description="of the group")
    score: float = Field(description="its metric")
    images: int = Field(description="number of its images")


@dataclass(frozen=True)
class CorruptedStore:
    """A store of images that are corrupted as they are read, each the same way every time.

    Attributes:
        store: the images as they are, shape (images, height, width, channels).
        kind, severity, seed: of the corruption, as in ``corrupt``.
    """

    store: Pixels
    kind: Kind
    severity: int
    seed: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the store."""
        return self.store.shape

    def __getitem__(self, rows: Rows) -> Pixels:
        return corrupt(self.store[rows], self.kind, self.severity, self.seed, rows)


def corrupted(split: Split, kind: Kind, severity: int, seed: int) -> Split:
    """Return a split with the same images corrupted, to be predicted batch by batch."""
    return replace(split, store=cast(Pixels, CorruptedStore(split.store, kind, severity, seed)))


def robustness(
    predict: Callable[[Split], Floats],
    split: Split,
    metric: Callable[[Integers, Floats], float | None],
    images: int = IMAGES,
    seed: int = 0,
) -> Robustness:
    """Return a metric on every corruption of some images of a split, and what is lost by it.

    The images and their corruptions depend on the split and the seed alone: strategies are compared on the same ones.

    Args:
        predict: returns the probabilities of a split, shape (images, classes).
        split: the images to draw from.
        metric: of targets and probabilities; higher is better. None: undefined.
        images: how many to draw at most; they are predicted as they are and once for each kind and severity.
        seed: of the images and of their corruptions.
    """
    chosen = stratified(split.targets.numpy(), images, seed)
    drawn = Split(split.store, split.rows[chosen], split.targets[chosen])
    targets = drawn.targets.numpy()
    clean = metric(targets, predict(drawn))
    scores: dict[str, list[float | None]] = {
        kind: [metric(targets, predict(corrupted(drawn, kind, severity, seed))) for severity in SEVERITIES]
        for kind in KINDS
    }
    defined = [score for of_kind in scores.values() for score in of_kind if score is not None]
    mean = fmean(defined) if defined else None
    drop = 1 - mean / clean if clean and mean is not None else None
    return Robustness(images=len(drawn), clean=clean, scores=scores, mean=mean, relative_drop=drop)


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
