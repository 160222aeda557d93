"""Whether new images are like those that a network knows, by their features and by their classes."""

from collections.abc import Mapping

import numpy as np
from pydantic import Field
from scipy.stats import chi2_contingency
from sklearn.metrics import pairwise_distances
from sklearn.preprocessing import normalize

from tasks.arrays import Features, Floats
from tasks.record import Record

IMAGES = 500  # of each side, at most: the time grows with their square
SMALLEST = 10  # images of a side, below which nothing is said
PERMUTATIONS = 999
SHIFTED = 0.1  # population stability index from which on a mix is usually called shifted
LEAST_SHARE = 1e-4  # of a class that a side lacks, whose logarithm would be infinite


class Drift(Record):
    """How new images differ from known ones; null where there are too few to say."""

    images: int = Field(description="new images whose features were looked at")
    distance: float | None = Field(description="maximum mean discrepancy of the features, 0 to sqrt(2)")
    p_value: float | None = Field(description="of that distance, if both were drawn from the same, by permutation")
    stability_index: float | None = Field(description="population stability index of the classes")
    classes_p_value: float | None = Field(description="of equal shares of the classes (chi-square)")


def drift(
    known: Features, new: Features, known_classes: Mapping[str, int], new_classes: Mapping[str, int], seed: int = 0
) -> Drift:
    """Return how new images differ from known ones.

    Args:
        known, new: features, shape (images, features); their lengths don't count.
        known_classes, new_classes: number of images a class.
        seed: of the images that are looked at, and of the permutations.
    """
    known, new = _some(known, seed), _some(new, seed)
    distance, p_value = discrepancy(known, new, seed) if min(len(known), len(new)) >= SMALLEST else (None, None)
    counted = min(sum(known_classes.values()), sum(new_classes.values())) >= SMALLEST
    return Drift(
        images=len(new),
        distance=distance,
        p_value=p_value,
        stability_index=stability_index(known_classes, new_classes) if counted else None,
        classes_p_value=same_mix(known_classes, new_classes) if counted else None,
    )


def discrepancy(known: Features, new: Features, seed: int = 0) -> tuple[float, float]:
    """Return the maximum mean discrepancy of two sets of features, and its p-value by permutation.

    Gretton et al., A Kernel Two-Sample Test, JMLR 13, 2012: a Gaussian kernel whose width is the median distance, the
    biased estimate. Features count by their direction alone.

    Args:
        known, new: shape (images, features).
        seed: of the permutations.
    """
    both = normalize(np.concatenate([known, new]).astype(np.float64))
    squares = pairwise_distances(both, metric="sqeuclidean")
    width = float(np.median(squares[np.triu_indices(len(both), 1)])) or 1.0
    kernel = np.exp(-squares / width)
    sides = np.concatenate([np.full(len(known), 1 / len(known)), np.full(len(new), -1 / len(new))])
    rng = np.random.default_rng(seed)
    signs = np.stack([sides, *(rng.permutation(sides) for _ in range(PERMUTATIONS))], axis=1)
    squared = np.einsum("ij,ij->j", signs, kernel @ signs)
    at_least = int(np.sum(squared[1:] >= squared[0] - 1e-12))
    return float(np.sqrt(max(squared[0], 0))), (at_least + 1) / (PERMUTATIONS + 1)


def stability_index(known: Mapping[str, int], new: Mapping[str, int]) -> float:
    """Return the population stability index of two mixes of classes: 0 for the same, over 0.25 for very different.

    It is the symmetric Kullback-Leibler divergence of the shares, both directions added.
    """
    before, now = (np.maximum(side / side.sum(), LEAST_SHARE) for side in _table(known, new))
    return float(((now - before) * np.log(now / before)).sum())


def same_mix(known: Mapping[str, int], new: Mapping[str, int]) -> float:
    """Return the p-value of equal shares of the classes on both sides (Pearson's chi-square)."""
    table = _table(known, new)
    if table.shape[1] < 2:
        return 1.0
    return float(chi2_contingency(table, correction=False).pvalue)


def sentences(drift: Drift, confidence: float) -> list[str]:
    """Return a warning for the features and for the classes, where they differ by more than noise."""
    warnings = []
    if drift.p_value is not None and drift.p_value <= 1 - confidence:
        warnings.append(
            f"the new images are unlike those that the champion knows (distance of their features "
            f"{drift.distance:.3f}, {_p(drift.p_value)}, {drift.images} images)"
        )
    is_shifted = drift.stability_index is not None and drift.stability_index > SHIFTED
    if is_shifted and drift.classes_p_value is not None and drift.classes_p_value <= 1 - confidence:
        warnings.append(
            f"the classes have other shares among the new images than the champion was trained on (population "
            f"stability index {drift.stability_index:.2f}, {_p(drift.classes_p_value)})"
        )
    return warnings


def _some(side: Features, seed: int) -> Features:
    chosen = np.random.default_rng(seed).permutation(len(side))[:IMAGES]
    return side[np.sort(chosen)]


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _table(known: Mapping[str, int], new: Mapping[str, int]) -> Floats:
    """Return the counts of both sides, a column a class that occurs."""
    names = sorted({name for side in (known, new) for name, count in side.items() if count})
    return np.array([[side.get(name, 0) for name in names] for side in (known, new)], dtype=np.float64)
