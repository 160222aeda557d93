"""Bootstrap intervals and paired comparisons, all resamples at once.

A resample is a row of counts: how often each image was drawn. The same rows serve every strategy, so that differences
are paired (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.stats import binomtest

from tasks.arrays import Flags, Floats, Integers, Singles
from tasks.evaluation.metrics import CALIBRATION_BINS, confidence_gaps
from tasks.record import Record

Counts = Singles


def draw(images: int, resamples: int, seed: int) -> Counts:
    """Return resamples with replacement as counts, shape (resamples, images)."""
    drawn = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)
    return drawn.astype(np.float32)


def _ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> Floats:
    above, below = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below > 0, above / below, np.nan)


def accuracy(counts: Counts, targets: Integers, probabilities: Floats) -> Floats:
    """Return the accuracy of every resample."""
    correct = (probabilities.argmax(axis=1) == targets).astype(np.float32)
    return _ratio(counts @ correct, counts.sum(axis=1))


def balanced_accuracy(counts: Counts, targets: Integers, probabilities: Floats) -> Floats:
    """Return the mean recall of every resample, over the classes that occur in it."""
    classes = _one_hot(targets, probabilities.shape[1])
    correct = (probabilities.argmax(axis=1) == targets).astype(np.float32)[:, None]
    return _mean_over_classes(_ratio(counts @ (classes * correct), counts @ classes))


def macro_f1(counts: Counts, targets: Integers, probabilities: Floats) -> Floats:
    """Return the mean F1 of every resample, over the classes that occur in it."""
    actual = _one_hot(targets, probabilities.shape[1])
    predicted = _one_hot(probabilities.argmax(axis=1), probabilities.shape[1])
    occurring, answered = counts @ actual, counts @ predicted
    f1 = _ratio(2 * (counts @ (actual * predicted)), occurring + answered)
    return _mean_over_classes(np.where(occurring > 0, f1, np.nan))


def auroc(counts: Counts, targets: Integers, probabilities: Floats) -> Floats:
    """Return the area under the ROC curve of every resample, mean over the classes that occur in it."""
    return _ranked(counts, targets, probabilities, _area_under_roc)


def average_precision(counts: Counts, targets: Integers, probabilities: Floats) -> Floats:
    """Return the average precision of every resample, mean over the classes that occur in it."""
    return _ranked(counts, targets, probabilities, _area_under_precision)


def calibration_error(counts: Counts, targets: Integers, probabilities: Floats) -> Floats:
    """Return the expected calibration error of every resample."""
    gaps, bin_of = confidence_gaps(targets, probabilities, CALIBRATION_BINS)
    in_bin = np.eye(CALIBRATION_BINS)[bin_of] * gaps[:, None]
    errors: Floats = np.abs(counts @ in_bin).sum(axis=1) / counts.sum(axis=1)
    return errors


METRICS: dict[str, Callable[[Counts, Integers, Floats], Floats]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "auroc": auroc,
    "average_precision": average_precision,
}
METRIC_NAMES = {  # as people are told
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "auroc": "AUROC",
    "average_precision": "average precision",
}


def interval(resampled: Floats, confidence: float) -> tuple[float, float] | None:
    """Return the percentile interval of a resampled metric, or None where it is never defined."""
    defined = resampled[np.isfinite(resampled)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def over_seeds(resampled: Sequence[Floats], seed: int) -> Floats:
    """Return the mean over a strategy's seeds in every resample, with the seeds resampled as well.

    The deviations from the plain mean are widened by sqrt(n / (n - 1)), so that the variance between n seeds comes out
    unbiased (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).

    Args:
        resampled: a metric of every seed on the same resamples, each of shape (resamples,).
        seed: of the draw; the same one pairs the seeds of several strategies.
    """
    values = np.stack(resampled, axis=1)
    resamples, count = values.shape
    if count == 1:
        return values[:, 0]
    drawn = np.random.default_rng(seed).integers(count, size=(resamples, count))
    plain = values.mean(axis=1)
    widened: Floats = plain + math.sqrt(count / (count - 1)) * (
        np.take_along_axis(values, drawn, 1).mean(axis=1) - plain
    )
    return widened


class Paired(Record):
    """A strategy's metric less another's on the same images and resamples."""

    difference: float = Field(description="of the metrics on all images")
    low: float = Field(description="lower bound of the difference's interval")
    high: float = Field(description="upper bound of the difference's interval")
    standard_error: float = Field(description="standard deviation of the difference over the resamples")
    p_value: float = Field(description="two-sided, of no difference, from the paired resamples")


def paired(value: float, other: float, resampled: Floats, resampled_other: Floats, confidence: float) -> Paired:
    """Compare two strategies by their metrics on the same resamples."""
    differences = resampled - resampled_other
    differences = differences[np.isfinite(differences)]
    low, high = np.quantile(differences, [(1 - confidence) / 2, (1 + confidence) / 2])
    turned = min(int(np.sum(differences <= 0)), int(np.sum(differences >= 0)))
    p_value = min(1.0, 2 * (turned + 1) / (len(differences) + 1))
    return Paired(
        difference=value - other,
        low=float(low),
        high=float(high),
        standard_error=float(differences.std()),
        p_value=p_value,
    )


def mcnemar(correct: Flags, other: Flags) -> float:
    """Return the exact two-sided p-value of two classifiers that err equally often (McNemar, Psychometrika 12, 1947).

    Args:
        correct, other: whether each image was classified correctly, shape (images,).
    """
    only, only_other = int((correct & ~other).sum()), int((~correct & other).sum())
    return float(binomtest(only, only + only_other).pvalue) if only + only_other else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, dtype=float)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return [float(p) for p in adjusted]


def best(metric: str, targets: Integers, answers: Sequence[Sequence[Floats]]) -> float:
    """Return the best strategy's mean score over its seeds; undefined scores count as -1."""
    once = np.ones((1, len(targets)), dtype=np.float32)

    def score(probabilities: Floats) -> float:
        return float(np.nan_to_num(METRICS[metric](once, targets, probabilities), nan=-1.0)[0])

    return max(float(np.mean([score(probabilities) for probabilities in of_seeds])) for of_seeds in answers)


def best_by_chance(
    metric: str, targets: Integers, answers: Sequence[Sequence[Floats]], permutations: int, seed: int
) -> Floats:  # fmt: skip
    """Return the best score of several strategies under permuted labels, shape (permutations,).

    The largest of several scores is larger by chance than each; permuting the labels for all strategies at once takes
    that into account (Westfall and Young, Resampling-Based Multiple Testing, 1993).

    Args:
        metric: one of ``METRICS``.
        targets: classes as integers, shape (images,).
        answers: probabilities of every strategy's seeds, each of shape (images, classes).
        permutations: how many.
        seed: of the permutations.
    """
    rng = np.random.default_rng(seed)
    return np.asarray([best(metric, rng.permutation(targets), answers) for _ in range(permutations)])


def _one_hot(classes: Integers, count: int) -> Singles:
    return np.eye(count, dtype=np.float32)[classes]


def _mean_over_classes(values: Floats) -> Floats:
    defined = np.isfinite(values)
    return _ratio(np.where(defined, values, 0).sum(axis=1), defined.sum(axis=1))


@dataclass(frozen=True)
class _Ordered:
    """Images by falling score, and how often each was drawn.

    Attributes:
        places: their scores, negated, so that they rise, shape (images,).
        drawn: shape (images, resamples).
    """

    places: Floats
    drawn: Floats

    def before(self, places: Floats, ties: Literal["left", "right"]) -> Floats:
        """Return how many draws are before some places, shape (places, resamples); ``right``: or at them."""
        summed = np.concatenate([np.zeros((1, self.drawn.shape[1])), self.drawn.cumsum(axis=0)])
        found: Floats = summed[np.searchsorted(self.places, places, side=ties)]
        return found


def _ranked(
    counts: Counts, targets: Integers, probabilities: Floats, area: Callable[[_Ordered, _Ordered], Floats]
) -> Floats:
    """Average an area over the classes; each sees its images and the others by falling score."""
    drawn = np.ascontiguousarray(counts.T, dtype=np.float64)
    areas = []
    for c in range(probabilities.shape[1]):
        order = np.argsort(-probabilities[:, c], kind="stable")
        of_class = order[targets[order] == c], order[targets[order] != c]
        areas.append(area(*(_Ordered(-probabilities[images, c], drawn[images]) for images in of_class)))
    return _mean_over_classes(np.stack(areas, axis=1))


def _area_under_roc(positives: _Ordered, negatives: _Ordered) -> Floats:
    above = (positives.before(negatives.places, "left") + positives.before(negatives.places, "right")) / 2
    pairs = np.einsum("ir,ir->r", negatives.drawn, above)
    return _ratio(pairs, positives.drawn.sum(axis=0) * negatives.drawn.sum(axis=0))


def _area_under_precision(positives: _Ordered, negatives: _Ordered) -> Floats:
    hits, misses = (images.before(positives.places, "right") for images in (positives, negatives))
    precision = np.nan_to_num(_ratio(hits, hits + misses))
    area = _ratio(np.einsum("ir,ir->r", positives.drawn, precision), positives.drawn.sum(axis=0))
    return np.where(negatives.drawn.sum(axis=0) > 0, area, np.nan)
