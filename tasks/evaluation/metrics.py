"""Metrics of predicted probabilities against the truth."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn import metrics as sk

from tasks.arrays import Floats, Integers

CALIBRATION_BINS = 15
LEAST_PROBABILITY = 1e-12  # stands for smaller ones: in a mean of logarithms, one rounded to 0 would outweigh the rest


def scores(targets: Integers, probabilities: Floats) -> dict[str, float | None]:
    """Return the metrics that every table shows.

    Args:
        targets: classes as integers, shape (images,).
        probabilities: shape (images, classes), rows that sum to one.

    Returns:
        ``accuracy``, ``balanced_accuracy`` (mean recall), ``macro_f1``, ``auroc`` and ``average_precision`` (each
        class against the rest, mean over the classes that occur), ``ece`` and ``log_loss``. A metric that these
        targets leave undefined is None.
    """
    predicted = probabilities.argmax(axis=1)
    present = np.unique(targets)
    rankable = present if len(present) > 1 else present[:0]
    return {
        "accuracy": _number(sk.accuracy_score(targets, predicted)),
        "balanced_accuracy": balanced_accuracy(targets, probabilities),
        "macro_f1": _number(sk.f1_score(targets, predicted, labels=present, average="macro", zero_division=0)),
        "auroc": auroc(targets, probabilities),
        "average_precision": _mean([sk.average_precision_score(targets == c, probabilities[:, c]) for c in rankable]),
        "ece": expected_calibration_error(targets, probabilities),
        "log_loss": _number(
            -np.log(np.clip(probabilities[np.arange(len(targets)), targets], LEAST_PROBABILITY, 1)).mean()
        ),
    }


def balanced_accuracy(targets: Integers, probabilities: Floats) -> float | None:
    """Return the mean recall of the classes that occur; arguments as of ``scores``."""
    hits = targets[probabilities.argmax(axis=1) == targets]
    counts, right = (np.bincount(classes, minlength=probabilities.shape[1]) for classes in (targets, hits))
    present = counts > 0
    return _number(float((right[present] / counts[present]).mean()))


def auroc(targets: Integers, probabilities: Floats) -> float | None:
    """Return the area under the ROC curve, each class against the rest, mean over the classes that occur.

    By the ranks of the answers (Mann and Whitney, 1947) and without the curves, as the probes ask for it hundreds of
    times. Arguments as of ``scores``.

    Returns:
        None where there is a single class.
    """
    counts = np.bincount(targets, minlength=probabilities.shape[1])
    present = np.flatnonzero(counts)
    if len(present) < 2:
        return None
    ranks = rankdata(probabilities, axis=0)
    above = np.bincount(targets, weights=ranks[np.arange(len(targets)), targets], minlength=len(counts))[present]
    positives = counts[present]
    areas = (above - positives * (positives + 1) / 2) / (positives * (len(targets) - positives))
    return _number(float(areas.mean()))


def expected_calibration_error(targets: Integers, probabilities: Floats, bins: int = CALIBRATION_BINS) -> float:
    """Return the mean gap between confidence and accuracy over equal-width bins, weighted by their images.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    gaps, bin_of = confidence_gaps(targets, probabilities, bins)
    return float(np.abs(np.bincount(bin_of, weights=gaps, minlength=bins)).sum() / len(targets))


def confidence_gaps(targets: Integers, probabilities: Floats, bins: int) -> tuple[Floats, Integers]:
    """Return what the expected calibration error is made of, an entry an image.

    Returns:
        The confidence less 1 for a right answer and less 0 for a wrong one; and the bin that the confidence is in.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == targets
    return confidence - correct, confidence_bins(confidence, bins)


def confidence_bins(confidence: Floats, bins: int) -> Integers:
    """Return which of the equal-width bins between 0 and 1 each confidence is in, from 0; 1 is in the last."""
    return np.minimum((confidence * bins).astype(np.int64), bins - 1)


def report(targets: Integers, probabilities: Floats, labels: Sequence[str], groups: Sequence[str]) -> dict[str, Any]:
    """Return ``scores`` with, besides, figures a class, the confusion matrix, and scores a group."""
    predicted = probabilities.argmax(axis=1)
    everything = np.arange(len(labels))
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        targets, predicted, labels=everything, zero_division=0
    )
    per_class = {
        label: {
            "precision": float(precision[c]),
            "recall": float(recall[c]),
            "f1": float(f1[c]),
            "images": int(support[c]),
        }
        for c, label in enumerate(labels)
    }
    return {
        **scores(targets, probabilities),
        "images": len(targets),
        "per_class": per_class,
        "confusion": sk.confusion_matrix(targets, predicted, labels=everything).tolist(),
        "groups": by_group(targets, probabilities, groups),
    }


def by_group(targets: Integers, probabilities: Floats, groups: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """Return the scores of each named group, with its number of images; groups without a name are left out."""
    names = pd.Series(list(groups), dtype="str")
    by_name: dict[str, dict[str, float | None]] = {}
    for name in sorted(set(names) - {""}):
        rows = np.flatnonzero(names == name)
        by_name[name] = {**scores(targets[rows], probabilities[rows]), "images": len(rows)}
    return by_name


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _mean(values: list[float]) -> float | None:
    return _number(float(np.mean(values))) if values else None
