"""Scores of features are what their formulas say, and tell features that hold the classes from those that don't."""

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from sklearn.datasets import load_digits

from tasks.evaluation.probes import LINEAR, NEIGHBOURS, ProbeScores, Transferability, gain
from tasks.evaluation.transferability import REPEATS, divide, h_score, logme, transferability

CLASSES = 3


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Pixels of real images of three digits, and which digit it is."""
    pixels, targets = load_digits(n_class=CLASSES, return_X_y=True)
    return pixels[:150].astype(np.float32), targets[:150]


def score(features: np.ndarray, targets: np.ndarray, groups: list[str] | None = None, seed: int = 0) -> Transferability:
    """Return what features say, of images that are in no group unless told otherwise."""
    return transferability(features, targets, groups or [""] * len(targets), seed)


@pytest.fixture(scope="module")
def real(digits: tuple[np.ndarray, np.ndarray]) -> Transferability:
    """What pixels of digits say."""
    return score(*digits)


def noise(images: int, features: int, seed: int) -> np.ndarray:
    """Return features that say nothing."""
    return np.random.default_rng(seed).normal(size=(images, features)).astype(np.float32)


def reached(*auroc: float | None) -> ProbeScores:
    """Return what a probe reached on the folds of one division."""
    return ProbeScores(folds=len(auroc), balanced_accuracy=[0.5] * len(auroc), auroc=list(auroc))


@pytest.mark.parametrize("images", [40, 120], ids=["fewer images than features", "more"])
def test_logme_is_the_largest_evidence(digits: tuple[np.ndarray, np.ndarray], images: int) -> None:
    """A search over both precisions, with the evidence as the density of a normal distribution, ends at the same."""
    features, targets = (part[:images] for part in digits)
    gram = features.astype(np.float64) @ features.T.astype(np.float64)

    def shortfall(logs: np.ndarray, answer: np.ndarray) -> float:
        covariance = np.exp(logs[0]) * gram + np.exp(logs[1]) * np.eye(images)
        return -float(stats.multivariate_normal.logpdf(answer, cov=covariance))

    best = [
        -optimize.minimize(shortfall, [-8.0, -3.0], args=((targets == c).astype(float),), method="Nelder-Mead").fun
        for c in range(CLASSES)
    ]
    assert logme(features, targets) == pytest.approx(np.mean(best) / images, abs=1e-4)


def test_h_score_is_its_formula(digits: tuple[np.ndarray, np.ndarray]) -> None:
    """Ledoit and Wolf's shrinkage from the outer product of every image, and the trace from whole matrices."""
    features, targets = digits
    values = features.astype(np.float64) - features.astype(np.float64).mean(axis=0)
    images, width = values.shape
    covariance = values.T @ values / images
    level = np.trace(covariance) / width
    spread = np.square(covariance - level * np.eye(width)).sum()
    error = sum(np.square(np.outer(row, row) - covariance).sum() for row in values) / images**2
    shrinkage = min(error, spread) / spread
    shrunk = (1 - shrinkage) * covariance + shrinkage * level * np.eye(width)
    means = np.stack([values[targets == target].mean(axis=0) for target in targets])
    expected = np.trace(np.linalg.inv(shrunk) @ ((1 - shrinkage) * means.T @ means / images))
    assert h_score(features, targets) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("measure", [logme, h_score])
def test_scores_do_not_depend_on_scale_or_direction(
    digits: tuple[np.ndarray, np.ndarray], measure: Callable[[np.ndarray, np.ndarray], float]
) -> None:
    """Features that are turned and made larger hold as much."""
    features, targets = digits
    turn = np.linalg.qr(noise(features.shape[1], features.shape[1], 0))[0]
    assert measure(1000 * features @ turn, targets) == pytest.approx(measure(features, targets), rel=1e-3)


def test_every_score_prefers_features_that_hold_the_classes(
    digits: tuple[np.ndarray, np.ndarray], real: Transferability
) -> None:
    """Pixels of digits beat the same pixels with the labels drawn anew, which are guessed."""
    features, targets = digits
    drawn = score(features, np.random.default_rng(0).permutation(targets))
    assert real.logme > drawn.logme
    assert real.h_score > drawn.h_score
    for name in (NEIGHBOURS, LINEAR):
        held, guessed = real.probes[name], drawn.probes[name]
        assert min(held.balanced_accuracy) > 0.85
        assert min(value for value in held.auroc if value is not None) > 0.95
        assert np.mean(guessed.balanced_accuracy) == pytest.approx(1 / CLASSES, abs=0.12)
        assert guessed.mean_auroc == pytest.approx(0.5, abs=0.12)


def test_more_features_that_say_nothing_do_not_make_features_better() -> None:
    """Without shrinkage the trace would be the number of classes less one as soon as features outnumber images."""
    targets = np.arange(60) % 2
    assert h_score(noise(60, 200, 0), targets) < 0.3
    assert h_score(noise(60, 200, 0) + 4 * targets[:, None].astype(np.float32), targets) > 0.6


def test_features_at_the_extremes_have_finite_scores() -> None:
    """Features that are the classes themselves, and features that are all the same."""
    targets = np.arange(60) % CLASSES
    perfect, constant = np.eye(CLASSES, dtype=np.float32)[targets], np.zeros((60, 4), np.float32)
    best, worst = score(perfect, targets), score(constant, targets)
    assert np.isfinite([best.logme, worst.logme]).all()
    assert best.logme > worst.logme
    assert best.h_score == pytest.approx(CLASSES - 1, abs=0.1)
    assert worst.h_score == 0
    assert set(best.probes[LINEAR].balanced_accuracy) == {1.0}
    assert worst.probes[LINEAR].mean_auroc == pytest.approx(0.5)


def test_copies_in_a_group_are_no_help() -> None:
    """Labels that can't be learned are guessed, however many copies an image has, since they are held out with it."""
    labels = np.random.default_rng(0).integers(0, 2, 40)
    features = np.repeat(noise(40, 20, 1), 10, axis=0) + 0.01 * noise(400, 20, 2)
    targets, groups = np.repeat(labels, 10), np.repeat([f"object {i}" for i in range(40)], 10).tolist()
    together, apart = score(features, targets, groups), score(features, targets)
    assert together.probes[NEIGHBOURS].mean_auroc == pytest.approx(0.5, abs=0.15)
    assert (apart.probes[NEIGHBOURS].mean_auroc or 0) > 0.7


@given(
    targets=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    names=st.lists(st.sampled_from(["", "", "a", "b", "c"]), min_size=40, max_size=40),
    seed=st.integers(0, 5),
)
def test_folds_hold_out_every_image_once_and_groups_whole(targets: list[int], names: list[str], seed: int) -> None:
    """Whatever the classes and groups, each division holds out every image once, and none is parted from its group."""
    groups = names[: len(targets)]
    folds, division = divide(np.array(targets), groups, seed)
    if not folds:
        single = [group or str(place) for place, group in enumerate(groups)]
        assert len(set(single)) < 2 or max(np.bincount(targets)) < 2
        return
    held = np.bincount(np.concatenate([held_out for _, held_out in division]), minlength=len(targets))
    assert held.tolist() == [REPEATS] * len(targets)
    for train, held_out in division:
        assert sorted([*train, *held_out]) == list(range(len(targets)))
        assert not {groups[row] for row in train} & {groups[row] for row in held_out} - {""}


@pytest.mark.parametrize("images", [[30, 1], [12, 3, 1], [2, 2]], ids=str)
def test_rare_classes_are_no_trap(images: list[int]) -> None:
    """A class that some folds lack in training or among the held out leaves every figure in its range."""
    targets = np.repeat(np.arange(len(images)), images)
    measured = score(noise(len(targets), 5, 0), targets)
    assert 1 <= measured.neighbours <= min(images)
    for probed in measured.probes.values():
        assert all(0 <= value <= 1 for value in probed.balanced_accuracy)
        assert all(value is None or 0 <= value <= 1 for value in probed.auroc)


def test_a_single_group_leaves_nothing_to_hold_out() -> None:
    """Where all images belong together there are scores of the features, but none of the probes."""
    targets = np.arange(20) % 2
    measured = score(noise(20, 5, 0), targets, ["module"] * 20)
    assert measured.neighbours == 0
    assert all(probed.auroc == [] and probed.mean_auroc is None for probed in measured.probes.values())
    assert np.isfinite(measured.logme)


def test_the_scores_survive_json(digits: tuple[np.ndarray, np.ndarray], real: Transferability) -> None:
    """What is written is what is read, and the same call finds the same."""
    assert Transferability.model_validate_json(real.model_dump_json()) == real == score(*digits)


def test_better_features_gain_and_worse_ones_lose(digits: tuple[np.ndarray, np.ndarray], real: Transferability) -> None:
    """Pixels against noise are better beyond the noise of the folds, noise against pixels is not."""
    pixels, random = real.probes[LINEAR], score(noise(150, 64, 0), digits[1]).probes[LINEAR]
    better, worse = gain(pixels, random), gain(random, pixels)
    assert better is not None
    assert worse is not None
    assert better.is_beyond_noise
    assert not worse.is_beyond_noise
    assert better.difference == pytest.approx(-worse.difference)
    assert better.difference == pytest.approx((pixels.mean_auroc or 0) - (random.mean_auroc or 0))


def test_features_that_are_alike_seldom_gain() -> None:
    """Of features that all say nothing, hardly any are better than the next beyond the noise of the folds."""
    targets = np.arange(60) % 2
    probed = [score(noise(60, 10, seed), targets).probes[LINEAR] for seed in range(5)]
    gains = [gain(ours, theirs) for ours, theirs in permutations(probed, 2)]
    assert sum(it is not None and it.is_beyond_noise for it in gains) <= len(gains) / 10


def test_a_steady_gain_is_told_from_an_unsteady_one() -> None:
    """The same mean difference counts where every fold agrees, and not where the folds contradict each other."""
    base = reached(0.6, 0.6, 0.6, 0.6, 0.6)
    steady, unsteady = gain(reached(0.69, 0.7, 0.71, 0.7, 0.7), base), gain(reached(0.4, 1.0, 0.7, 0.9, 0.5), base)
    assert steady is not None
    assert unsteady is not None
    assert steady.difference == pytest.approx(unsteady.difference)
    assert steady.is_beyond_noise
    assert not unsteady.is_beyond_noise


def test_without_folds_there_is_no_gain() -> None:
    """Fewer than two folds that rank anything say nothing of noise."""
    for probed in (reached(), reached(None, None), reached(0.9, None)):
        assert gain(probed, probed) is None
