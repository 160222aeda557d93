"""Temperatures are found again where they are known, and mended probabilities answer as before."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from tasks.arrays import Floats, Integers
from tasks.evaluation import metrics
from tasks.evaluation.calibration import HIGHEST, LOWEST, fit_temperature, reliability, scaled

seeds = st.integers(0, 2**32 - 1)
temperatures = st.floats(0.2, 5)
probability_tables = st.integers(2, 5).flatmap(
    lambda classes: st.lists(
        st.lists(st.integers(-30, 30), min_size=classes, max_size=classes), min_size=1, max_size=30
    ).map(lambda logits: softmax(np.array(logits) / 2, axis=1))
)


def calibrated(seed: int, images: int = 3000, classes: int = 3) -> tuple[Integers, Floats]:
    """Return probabilities, and targets that were drawn with them."""
    rng = np.random.default_rng(seed)
    probabilities = softmax(2 * rng.normal(size=(images, classes)), axis=1)
    draws = rng.random(images)[:, None] > probabilities.cumsum(axis=1)
    return np.minimum(draws.sum(axis=1), classes - 1), probabilities


def likelihood_loss(targets: Integers, probabilities: Floats) -> float:
    """Return the mean negative log-likelihood."""
    return metrics.scores(targets, probabilities)["log_loss"] or 0.0


@given(probabilities=probability_tables, temperature=temperatures)
def test_scaling_keeps_the_order_of_the_classes(probabilities: Floats, temperature: float) -> None:
    """Whatever the temperature: rows sum to one, the answers are the same, and no class overtakes another."""
    tempered = scaled(probabilities, temperature)
    assert tempered.shape == probabilities.shape
    assert tempered.sum(axis=1) == pytest.approx(np.ones(len(tempered)))
    assert np.array_equal(tempered.argmax(axis=1), probabilities.argmax(axis=1))
    places = np.argsort(probabilities, axis=1, kind="stable")
    assert (np.diff(np.take_along_axis(tempered, places, axis=1), axis=1) >= -1e-12).all()


@given(probabilities=probability_tables, first=st.floats(1, 5), second=temperatures)
def test_temperatures_multiply(probabilities: Floats, first: float, second: float) -> None:
    """Scaling twice is scaling once by the product, and 1 changes nothing."""
    twice = scaled(scaled(probabilities, first), second)
    assert twice == pytest.approx(scaled(probabilities, first * second), abs=1e-6)
    assert scaled(probabilities, 1.0) == pytest.approx(probabilities)


def test_a_higher_temperature_is_less_sure() -> None:
    """Confidence falls as the temperature rises."""
    _, probabilities = calibrated(0, images=50)
    confidences = [scaled(probabilities, temperature).max(axis=1) for temperature in (0.5, 1.0, 2.0, 8.0)]
    assert (np.diff(confidences, axis=0) < 0).all()


@given(seed=seeds, temperature=temperatures)
def test_a_known_temperature_is_found(seed: int, temperature: float) -> None:
    """Probabilities that were right before they were sharpened need about the temperature of the sharpening."""
    targets, probabilities = calibrated(seed)
    assert fit_temperature(scaled(probabilities, 1 / temperature), targets) == pytest.approx(temperature, rel=0.25)


@given(probabilities=probability_tables, data=st.data())
def test_the_fit_is_never_worse_where_it_was_fitted(probabilities: Floats, data: Any) -> None:
    """The loss at the fitted temperature is at most the one before, and no temperature beside it has a lower one."""
    images, classes = probabilities.shape
    targets = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=images, max_size=images)))
    temperature = fit_temperature(probabilities, targets)
    assert LOWEST <= temperature <= HIGHEST
    loss = likelihood_loss(targets, scaled(probabilities, temperature))
    assert loss <= likelihood_loss(targets, probabilities) + 1e-9
    if (probabilities.argmax(axis=1) != targets).any():
        for near in np.clip([0.8 * temperature, 1.25 * temperature], LOWEST, HIGHEST):
            assert loss <= likelihood_loss(targets, scaled(probabilities, near)) + 1e-6


def test_scaling_mends_overconfidence_on_other_images() -> None:
    """What is fitted on one half lowers the loss and the calibration error of the other, at the same accuracy."""
    targets, honest = calibrated(1)
    sure = scaled(honest, 0.4)
    temperature = fit_temperature(sure[::2], targets[::2])
    before, after = (metrics.scores(targets[1::2], p[1::2]) for p in (sure, scaled(sure, temperature)))
    assert temperature > 1
    assert after["accuracy"] == before["accuracy"]
    assert (after["ece"] or 0) < (before["ece"] or 0) / 2
    assert (after["log_loss"] or 0) < (before["log_loss"] or 0)


def test_without_a_mistake_probabilities_stay() -> None:
    """A validation split that was answered without a mistake gives no reason to be surer, or less sure."""
    targets, probabilities = calibrated(2, images=40)
    right = probabilities.argmax(axis=1)
    assert fit_temperature(probabilities, right) == 1
    assert fit_temperature(np.eye(3)[right], right) == 1
    assert fit_temperature(probabilities, targets) != 1


def test_even_probabilities_stay() -> None:
    """Where every temperature gives the same, it is 1."""
    assert fit_temperature(np.full((6, 2), 0.5), np.array([0, 1] * 3)) == 1


@pytest.mark.parametrize("share_right", [0.9, 0.7])
def test_certainty_is_brought_down_to_the_accuracy(share_right: float) -> None:
    """Answers of exactly 0 and 1 that are right in most cases become as sure as they are right."""
    targets = (np.arange(100) >= 100 * share_right).astype(int)
    certain = np.tile([1.0, 0.0], (100, 1))
    mended = scaled(certain, fit_temperature(certain, targets))
    assert mended[:, 0] == pytest.approx(np.full(100, share_right), abs=0.01)


def test_rounding_to_zero_does_not_overthrow_the_fit() -> None:
    """Probabilities that single precision left at 0, some of them of the truth, give about the same temperature."""
    targets, honest = calibrated(3)
    sure = scaled(honest, 0.25)
    rounded = sure.round(7)
    assert (rounded[np.arange(len(targets)), targets] == 0).any()
    assert fit_temperature(rounded, targets) == pytest.approx(fit_temperature(sure, targets), rel=0.1)


def test_answers_that_are_always_wrong_become_even() -> None:
    """Where confidence means nothing, the classes end up alike."""
    wrong = np.tile([0.9, 0.1], (20, 1))
    assert scaled(wrong, fit_temperature(wrong, np.ones(20, dtype=np.int64))) == pytest.approx(0.5, abs=0.01)


@given(seed=seeds, bins=st.integers(1, 30))
def test_bins_add_up_to_the_calibration_error(seed: int, bins: int) -> None:
    """Every image is in one bin, means and intervals are inside it, and the weighted gaps are the metric's."""
    targets, probabilities = calibrated(seed, images=80)
    filled = reliability(targets, scaled(probabilities, 0.5), bins)
    assert sum(part.images for part in filled) == len(targets)
    assert all(lower.high <= upper.low + 1e-12 for lower, upper in pairwise(filled))
    for part in filled:
        assert part.low - 1e-12 <= part.confidence <= part.high + 1e-12
        assert part.high - part.low == pytest.approx(1 / bins)
        assert 0 <= part.accuracy_low <= part.accuracy + 1e-12
        assert part.accuracy - 1e-12 <= part.accuracy_high <= 1
    gaps = sum(part.images * abs(part.confidence - part.accuracy) for part in filled) / len(targets)
    wanted = metrics.expected_calibration_error(targets, scaled(probabilities, 0.5), bins)
    assert gaps == pytest.approx(wanted)


def test_the_interval_is_wilsons() -> None:
    """Eight of ten right at 95 %: 0.490 to 0.943, as the formula gives; a lower level is narrower."""
    targets = np.array([0] * 8 + [1] * 2)
    probabilities = np.tile([0.75, 0.25], (10, 1))
    (part,) = reliability(targets, probabilities)
    (narrow,) = reliability(targets, probabilities, level=0.5)
    z = 1.959964
    centre, spread = (0.8 + z**2 / 20) / (1 + z**2 / 10), z * np.sqrt(0.8 * 0.2 / 10 + z**2 / 400) / (1 + z**2 / 10)
    assert (part.accuracy_low, part.accuracy_high) == pytest.approx((centre - spread, centre + spread), abs=1e-5)
    assert part.accuracy_low < narrow.accuracy_low < narrow.accuracy_high < part.accuracy_high


def test_an_accuracy_of_one_has_an_interval_all_the_same() -> None:
    """Few images that are all right prove little; more of them prove more."""
    few, many = (reliability(np.zeros(count, dtype=np.int64), np.tile([1.0, 0.0], (count, 1)))[0] for count in (3, 300))
    assert few.accuracy_low < 0.5
    assert 0.95 < many.accuracy_low < 1
    assert few.accuracy_high == many.accuracy_high == 1
