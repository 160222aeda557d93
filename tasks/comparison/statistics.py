"""Bootstrap intervals and paired comparisons, all resamples at once.

A resample is a row of counts: how often each image was drawn. The same rows serve every strategy, so that differences
are paired (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.evaluation.metrics import Floats, Integers

Counts = npt.NDArray[np.float32]


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


METRICS: dict[str, Callable[[Counts, Integers, Floats], Floats]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "auroc": auroc,
    "average_precision": average_precision,
}


def interval(resampled: Floats, confidence: float) -> tuple[float, float] | None:
    """Return the percentile interval of a resampled metric, or None where it is never defined."""
    defined = resampled[np.isfinite(resampled)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class Paired:
    """A strategy's metric less another's on the same images.

    Attributes:
        difference: on the images as they are.
        low, high: percentile interval over the resamples.
        standard_error: standard deviation over the resamples.
        p_value: two-sided share of resamples in which the sign turns.
    """

    difference: float
    low: float
    high: float
    standard_error: float
    p_value: float


def paired(value: float, other: float, resampled: Floats, resampled_other: Floats, confidence: float) -> Paired:
    """Compare two strategies by their metrics on the same resamples."""
    differences = resampled - resampled_other
    differences = differences[np.isfinite(differences)]
    low, high = np.quantile(differences, [(1 - confidence) / 2, (1 + confidence) / 2])
    turned = min(float(np.mean(differences <= 0)), float(np.mean(differences >= 0)))
    return Paired(value - other, float(low), float(high), float(differences.std()), min(1.0, 2 * turned))


def _one_hot(classes: Integers, count: int) -> npt.NDArray[np.float32]:
    return np.eye(count, dtype=np.float32)[classes]


def _mean_over_classes(values: Floats) -> Floats:
    defined = np.isfinite(values)
    return _ratio(np.where(defined, values, 0).sum(axis=1), defined.sum(axis=1))


def _ranked(
    counts: Counts, targets: Integers, probabilities: Floats, area: Callable[[Floats, Floats], Floats]
) -> Floats:
    """Average an area over the classes; each sees positive and negative counts by falling score, ties together."""
    areas = []
    for c in range(probabilities.shape[1]):
        scores, tie = np.unique(-probabilities[:, c], return_inverse=True)
        order = np.argsort(tie, kind="stable")
        starts = np.searchsorted(tie[order], np.arange(len(scores)))
        ordered = counts[:, order].astype(float)
        positive = (targets[order] == c).astype(float)
        areas.append(
            area(
                np.add.reduceat(ordered * positive, starts, axis=1),
                np.add.reduceat(ordered * (1 - positive), starts, axis=1),
            )
        )
    return _mean_over_classes(np.stack(areas, axis=1))


def _area_under_roc(positives: Floats, negatives: Floats) -> Floats:
    above = positives.cumsum(axis=1) - positives / 2
    return _ratio((negatives * above).sum(axis=1), positives.sum(axis=1) * negatives.sum(axis=1))


def _area_under_precision(positives: Floats, negatives: Floats) -> Floats:
    hits = positives.cumsum(axis=1)
    precision = np.nan_to_num(_ratio(hits, hits + negatives.cumsum(axis=1)))
    area = _ratio((positives * precision).sum(axis=1), positives.sum(axis=1))
    return np.where(negatives.sum(axis=1) > 0, area, np.nan)
