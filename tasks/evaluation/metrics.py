"""Metrics of predicted probabilities against the truth."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn import metrics as sk

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
CALIBRATION_BINS = 15


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
    rankable = [c for c in present if 0 < (targets == c).sum() < len(targets)]
    return {
        "accuracy": _number(sk.accuracy_score(targets, predicted)),
        "balanced_accuracy": _number(sk.recall_score(targets, predicted, labels=present, average="macro")),
        "macro_f1": _number(sk.f1_score(targets, predicted, labels=present, average="macro", zero_division=0)),
        "auroc": _mean([sk.roc_auc_score(targets == c, probabilities[:, c]) for c in rankable]),
        "average_precision": _mean([sk.average_precision_score(targets == c, probabilities[:, c]) for c in rankable]),
        "ece": expected_calibration_error(targets, probabilities),
        "log_loss": _number(-np.log(np.clip(probabilities[np.arange(len(targets)), targets], 1e-12, 1)).mean()),
    }


def expected_calibration_error(targets: Integers, probabilities: Floats, bins: int = CALIBRATION_BINS) -> float:
    """Return the mean gap between confidence and accuracy over equal-width bins, weighted by their images.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == targets
    gap = np.bincount(confidence_bins(confidence, bins), weights=confidence - correct, minlength=bins)
    return float(np.abs(gap).sum() / len(targets))


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
    found: dict[str, dict[str, float | None]] = {}
    for name in sorted(set(names) - {""}):
        rows = np.flatnonzero(names == name)
        found[name] = {**scores(targets[rows], probabilities[rows]), "images": len(rows)}
    return found


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _mean(values: list[float]) -> float | None:
    return _number(float(np.mean(values))) if values else None
