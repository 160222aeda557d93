"""Bootstrap metrics against scikit-learn, intervals against the truth."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from tasks.arrays import Floats, Integers
from tasks.comparison import statistics
from tasks.evaluation import metrics


def drawn(classes: int, images: int, seed: int, *, ties: bool) -> tuple[Integers, Floats]:
    """Return targets and probabilities; with ``ties`` many images share their scores."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, images)
    odds = np.exp(rng.normal(size=(images, classes)) + np.eye(classes)[targets])
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    return targets, probabilities.round(1) if ties else probabilities


def by_scikit_learn(name: str, weights: Floats, targets: Integers, probabilities: Floats) -> float:
    """Return a metric of one resample, from the images in it with their counts as weights."""
    inside = weights > 0
    targets, probabilities, weights = targets[inside], probabilities[inside], weights[inside]
    predicted, present = probabilities.argmax(axis=1), np.unique(targets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "accuracy":
            return float(sk.accuracy_score(targets, predicted, sample_weight=weights))
        if name == "balanced_accuracy":
            return float(sk.balanced_accuracy_score(targets, predicted, sample_weight=weights))
        if name == "macro_f1":
            return float(
                sk.f1_score(targets, predicted, labels=present, average="macro", sample_weight=weights, zero_division=0)
            )
        if len(present) < 2:
            return np.nan
        area = sk.roc_auc_score if name == "auroc" else sk.average_precision_score
        return float(np.mean([area(targets == c, probabilities[:, c], sample_weight=weights) for c in present]))


@pytest.mark.parametrize("name", statistics.METRICS)
@settings(max_examples=25, deadline=None)
@given(classes=st.integers(2, 4), images=st.integers(4, 40), seed=st.integers(0, 10**6), ties=st.booleans())
def test_every_resample_is_scikit_learns(name: str, classes: int, images: int, seed: int, ties: bool) -> None:
    """Each metric of each resample is scikit-learn's with sample weights, ties and missing classes included."""
    targets, probabilities = drawn(classes, images, seed, ties=ties)
    counts = statistics.draw(images, 6, seed)
    resampled = statistics.METRICS[name](counts, targets, probabilities)
    expected = [by_scikit_learn(name, row.astype(float), targets, probabilities) for row in counts]
    np.testing.assert_allclose(resampled, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_every_image_once_is_the_score_itself(classes: int, ties: bool) -> None:
    """The bootstrap's metrics are those of the tables: counting each image once gives the same figures."""
    targets, probabilities = drawn(classes, 80, 3, ties=ties)
    scores = metrics.scores(targets, probabilities)
    once = np.ones((1, 80), dtype=np.float32)
    for name, metric in statistics.METRICS.items():
        assert metric(once, targets, probabilities)[0] == pytest.approx(scores[name], rel=1e-5)


def test_a_resample_of_one_class_ranks_nothing() -> None:
    """Ranking is undefined there, and such resamples are left out of the interval."""
    targets, probabilities = np.array([0, 0, 1]), np.array([[0.8, 0.2], [0.4, 0.6], [0.3, 0.7]])
    counts = np.array([[2, 1, 0], [1, 1, 1], [0, 0, 3]], dtype=np.float32)
    for name in ("auroc", "average_precision"):
        resampled = statistics.METRICS[name](counts, targets, probabilities)
        assert np.isnan(resampled).tolist() == [True, False, True]
        assert statistics.interval(resampled, 0.95) == (pytest.approx(resampled[1]), pytest.approx(resampled[1]))
        assert statistics.interval(resampled[[0, 2]], 0.95) is None


def test_resamples_are_drawn_with_replacement() -> None:
    """Every resample has as many images as there are, some of them more than once; the seed decides which."""
    counts = statistics.draw(50, 400, 1)
    assert (counts.sum(axis=1) == 50).all()
    assert counts.max() > 1
    assert (counts == 0).mean() == pytest.approx((1 - 1 / 50) ** 50, abs=0.02)
    assert np.array_equal(counts, statistics.draw(50, 400, 1))
    assert not np.array_equal(counts, statistics.draw(50, 400, 2))


def accuracy_interval(images: int, truth: float, confidence: float, seed: int) -> tuple[float, float]:
    """Return the interval of the accuracy of a classifier that is right with a known probability."""
    rng = np.random.default_rng(seed)
    right = rng.random(images) < truth
    probabilities = np.where(right[:, None], [[0.9, 0.1]], [[0.1, 0.9]])
    counts = statistics.draw(images, 400, seed)
    bounds = statistics.interval(statistics.accuracy(counts, np.zeros(images, dtype=int), probabilities), confidence)
    assert bounds is not None
    return bounds


def test_intervals_cover_the_truth() -> None:
    """About as many intervals hold the true accuracy as their confidence says, and more images narrow them."""
    for confidence in (0.95, 0.6):
        intervals = [accuracy_interval(150, 0.75, confidence, seed) for seed in range(200)]
        covered = np.mean([low <= 0.75 <= high for low, high in intervals])
        assert covered == pytest.approx(confidence, abs=0.08)
    small, large = (accuracy_interval(images, 0.75, 0.95, 0) for images in (50, 800))
    assert large[1] - large[0] < 0.5 * (small[1] - small[0])


def two(images: int = 200, gap: float = 0.5, seed: int = 0) -> tuple[float, float, Floats, Floats]:
    """Return the accuracies of two strategies, of which the second is the better, and their resamples."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, images)
    counts = statistics.draw(images, 500, seed)
    values = []
    for skill in (1.0, 1.0 + gap):
        odds = np.exp(rng.normal(size=(images, 2)) + skill * np.eye(2)[targets])
        probabilities = odds / odds.sum(axis=1, keepdims=True)
        values.append(
            ((probabilities.argmax(1) == targets).mean(), statistics.accuracy(counts, targets, probabilities))
        )
    (value, resampled), (other, resampled_other) = values
    return float(value), float(other), resampled, resampled_other


@pytest.mark.parametrize("gap", [0.0, 0.5, 3.0])
def test_pairs_are_symmetric(gap: float) -> None:
    """Who is compared with whom turns the sign of the difference and nothing else."""
    value, other, resampled, resampled_other = two(gap=gap)
    there = statistics.paired(value, other, resampled, resampled_other, 0.9)
    back = statistics.paired(other, value, resampled_other, resampled, 0.9)
    assert there.difference == pytest.approx(value - other)
    assert back.difference == pytest.approx(-there.difference)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
    assert back.standard_error == pytest.approx(there.standard_error)
    assert back.p_value == there.p_value
    assert there.low <= there.difference <= there.high


def test_pairs_tell_a_real_difference_from_none() -> None:
    """The p-value of a strategy with itself is 1, that of a clearly better one is near 0."""
    value, other, resampled, resampled_other = two(gap=3.0)
    assert statistics.paired(value, other, resampled, resampled_other, 0.95).p_value < 0.01
    itself = statistics.paired(value, value, resampled, resampled, 0.95)
    assert itself.p_value == 1
    assert (itself.difference, itself.low, itself.high, itself.standard_error) == (0, 0, 0, 0)
    chances = []
    for seed in range(40):
        value, other, resampled, resampled_other = two(gap=0.0, seed=seed)
        chances.append(statistics.paired(value, other, resampled, resampled_other, 0.95).p_value)
    assert np.mean(np.array(chances) < 0.05) < 0.2, "equals are seldom told apart"
    assert all(0 <= chance <= 1 for chance in chances)


def test_undefined_resamples_do_not_count() -> None:
    """A resample in which either metric is undefined is left out of the pair."""
    value, other, resampled, resampled_other = two()
    expected = statistics.paired(value, other, resampled[2:], resampled_other[2:], 0.9)
    resampled[0], resampled_other[1] = np.nan, np.nan
    assert statistics.paired(value, other, resampled, resampled_other, 0.9) == expected


@settings(max_examples=50, deadline=None)
@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_adjusted_p_values_are_holms(p_values: list[float]) -> None:
    """The step-down definition, hypothesis by hypothesis; order is kept and nothing becomes more certain."""
    adjusted = statistics.holm(p_values)
    ordered = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for place, i in enumerate(ordered):
        steps = [(len(p_values) - k) * p_values[ordered[k]] for k in range(place + 1)]
        assert adjusted[i] == pytest.approx(min(1.0, max(steps)))
        assert adjusted[i] >= p_values[i]


def test_mcnemar_counts_only_where_two_disagree() -> None:
    """Images that both get right or wrong say nothing; the fewer one-sided errors, the less certain."""
    both = np.ones(50, dtype=bool)
    assert statistics.mcnemar(both, both) == 1
    one_sided = both.copy()
    one_sided[:10] = False
    fewer = both.copy()
    fewer[:2] = False
    assert statistics.mcnemar(one_sided, both) == pytest.approx(2 * 0.5**10)
    assert statistics.mcnemar(one_sided, both) == statistics.mcnemar(both, one_sided)
    assert statistics.mcnemar(fewer, both) == pytest.approx(0.5)


@given(st.integers(2, 6), st.floats(0, 0.2), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_the_interval_over_seeds_holds_their_spread(count: int, spread: float, seed: int) -> None:
    """The mean over seeds varies as images and seeds do; without a spread between seeds, as the images alone."""
    rng = np.random.default_rng(seed)
    images, offsets = rng.normal(0, 0.05, 20_000), spread * rng.normal(size=count)
    means = statistics.over_seeds([0.7 + images + offset for offset in offsets], seed)
    expected = np.hypot(images.std(), offsets.std(ddof=1) / np.sqrt(count))
    assert means.std() == pytest.approx(expected, rel=0.05)
    assert means.mean() == pytest.approx(0.7 + images.mean() + offsets.mean(), abs=0.01)
