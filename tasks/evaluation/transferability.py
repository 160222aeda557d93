"""How well frozen features tell the classes apart, before anything is fine-tuned.

Two probes are cross-validated, and two scores have a closed form. Everything is for images that a strategy may learn or
be chosen from, training or training and validation; the test split is never among them.
"""

import math
import warnings
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
from scipy import linalg, special
from sklearn.base import clone
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tasks import stopping
from tasks.arrays import Features, Floats, Integers
from tasks.evaluation import metrics
from tasks.evaluation.probes import LINEAR, NEIGHBOURS, ProbeScores, Transferability, each_in_a_group

Division = list[tuple[Integers, Integers]]

MOST_NEIGHBOURS = 20
FOLDS, REPEATS = 5, 4
MOST_IMAGES = 10_000  # more are not needed to order strategies, and cost their square
ITERATIONS, TOLERANCE = 300, 1e-6  # of the fixed point that LogME searches
RATIOS = (1e-18, 1e18)  # that it stays within, for classes that features say nothing of
LEAST_NOISE = 1e-12  # variance, for classes that features fit exactly


def transferability(features: Features, targets: Integers, groups: Sequence[str], seed: int) -> Transferability:
    """Return what features say of the classes.

    The probes see standardised features. They are k nearest neighbours by cosine, with k at most 20 and at most the
    images of the rarest class, and ridge regression on the classes, all of which count alike, with as much penalty as
    there are features. At most 10,000 images are looked at.

    Args:
        features: what reaches the head of a frozen network, shape (images, features). Those of random weights must be
            computed in float32: images differ too little in them for less.
        targets: classes of the images.
        groups: of the images; images of a group are never in different folds; empty for an image that is in none.
        seed: of the images that are looked at and of the folds: the same for other features of the same images.
    """
    seen = np.sort(np.random.default_rng(seed).permutation(len(targets))[:MOST_IMAGES])
    features, targets, groups = features[seen], targets[seen], [groups[place] for place in seen]
    folds, division = divide(targets, groups, seed)
    rarest = np.unique(targets, return_counts=True)[1].min()
    neighbours = min([MOST_NEIGHBOURS, rarest, *(len(train) for train, _ in division)]) if division else 0
    probes = {
        NEIGHBOURS: make_pipeline(StandardScaler(), KNeighborsClassifier(neighbours, metric="cosine")),
        LINEAR: _linear(features),
    }
    return Transferability(
        images=len(features),
        features=features.shape[1],
        neighbours=int(neighbours),
        probes={name: _cross_validate(probe, features, targets, folds, division) for name, probe in probes.items()},
        logme=logme(features, targets),
        h_score=h_score(features, targets),
    )


def linear_probe(features: Features, targets: Integers, groups: Sequence[str], seed: int) -> ProbeScores:
    """Return what the linear probe alone reaches; arguments as of ``transferability``."""
    folds, division = divide(targets, groups, seed)
    return _cross_validate(_linear(features), features, targets, folds, division)


def divide(targets: Integers, groups: Sequence[str], seed: int) -> tuple[int, Division]:
    """Divide images into folds, four times anew; groups stay whole.

    Returns:
        The number of folds: five, or as many as there are groups or images of the most frequent class; 0 if that is
        one. And the rows that are trained on and those that are held out, a pair a fold, one division after the other.
    """
    single = each_in_a_group(groups)
    folds = min(FOLDS, len(set(single)), int(np.bincount(targets).max()))
    if folds < 2:
        return 0, []
    splitters = [StratifiedGroupKFold(folds, shuffle=True, random_state=seed + draw) for draw in range(REPEATS)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        pairs = [pair for splitter in splitters for pair in splitter.split(targets, targets, single)]
    return folds, [(train, held_out) for train, held_out in pairs if len(held_out)]


def logme(features: Features, targets: Integers) -> float:
    """Return the log maximum evidence of Bayesian linear regression on one-hot classes, an image, mean over classes.

    You et al., LogME: Practical Assessment of Pre-trained Models for Transfer Learning, ICML 2021. One singular value
    decomposition serves all classes that occur.

    Args:
        features: shape (images, features).
        targets: classes of the images.
    """
    left, singular, _ = linalg.svd(features.astype(np.float64), full_matrices=False)
    kept = singular > singular[0] * max(features.shape) * np.finfo(np.float64).eps
    squares = (singular[kept] / singular[0]) ** 2
    one_hot = (targets[:, None] == np.unique(targets)).astype(np.float64)
    along = (left[:, kept].T @ one_hot) ** 2
    beside = one_hot.sum(axis=0) - along.sum(axis=0)
    evidences = [
        _log_evidence(squares, inside, float(outside), len(targets))
        for inside, outside in zip(along.T, beside, strict=True)
    ]
    return fmean(evidences) / len(targets)


def h_score(features: Features, targets: Integers) -> float:
    """Return the trace of the inverse covariance of the features times the covariance of the classes' means.

    Bao et al., An Information-Theoretic Approach to Transferability in Task Transfer Learning, ICIP 2019, with the
    covariance shrunk (Ledoit and Wolf, 2004) as in Ibrahim et al., Newer is not always better, ECML PKDD 2022: without
    that the score rises with the number of features alone.

    Args:
        features: shape (images, features).
        targets: classes of the images.

    Returns:
        0 for features that say nothing, up to one less than the number of classes.
    """
    values = features.astype(np.float64)
    centred = values - values.mean(axis=0)
    if not np.any(centred):
        return 0.0
    covariance, shrinkage = ledoit_wolf(centred, assume_centered=True)
    classes, counts = np.unique(targets, return_counts=True)
    means = np.stack([centred[targets == c].mean(axis=0) for c in classes])
    weighted = means * np.sqrt(counts / len(targets))[:, None]
    explained = np.sum(weighted.T * linalg.solve(covariance, weighted.T, assume_a="pos"))
    return float((1 - shrinkage) * explained)


class _ClassScores(RidgeClassifier):  # type: ignore[misc]
    """Ridge regression on the classes whose answers are made positive and sum to one, for the metrics."""

    def predict_proba(self, features: Features) -> Floats:
        answers = self.decision_function(features)
        both = np.stack([-answers, answers], axis=1) if answers.ndim == 1 else answers
        probabilities: Floats = special.softmax(both.astype(np.float64), axis=1)
        return probabilities


def _linear(features: Features) -> Any:
    return make_pipeline(StandardScaler(), _ClassScores(alpha=features.shape[1], class_weight="balanced"))


def _cross_validate(probe: Any, features: Features, targets: Integers, folds: int, division: Division) -> ProbeScores:
    recalls: list[float] = []
    areas: list[float | None] = []
    for train, held_out in stopping.between(division):
        probabilities = np.zeros((len(held_out), int(targets.max()) + 1))
        known = np.unique(targets[train])
        if len(known) < 2:
            probabilities[:, known] = 1
        else:
            fitted = clone(probe).fit(features[train], targets[train])
            probabilities[:, known] = fitted.predict_proba(features[held_out])
        recalls.append(metrics.balanced_accuracy(targets[held_out], probabilities) or 0.0)
        areas.append(metrics.auroc(targets[held_out], probabilities))
    return ProbeScores(folds=folds, balanced_accuracy=recalls, auroc=areas)


def _log_evidence(squares: Floats, along: Floats, beside: float, images: int) -> float:
    """Return the log evidence of a class at its maximum, which a fixed point of the two precisions is.

    Args:
        squares: of the features' singular values, the largest being 1, which changes no evidence.
        along: squares of the class's coordinates along the singular vectors.
        beside: square of what lies outside of them.
        images: number of the images.
    """
    outside = max(beside, LEAST_NOISE * images)
    ratio = 1.0  # precision of the weights by that of the noise
    for _ in range(ITERATIONS):
        free, share = ratio / (ratio + squares), squares / (ratio + squares)
        determined, undetermined = float(share.sum()), images - len(squares) + float(free.sum())
        weights, residual = float((share**2 * along / squares).sum()), float((free**2 * along).sum()) + outside
        noise = undetermined / residual
        before, ratio = ratio, determined / (noise * weights) if weights > 0 else RATIOS[1]
        ratio = min(max(ratio, RATIOS[0]), RATIOS[1])
        if abs(ratio - before) <= TOLERANCE * before:
            break
    fit = images * math.log(noise / (2 * math.pi)) - noise * (residual + before * weights)
    return (fit + float(np.log(free).sum())) / 2
