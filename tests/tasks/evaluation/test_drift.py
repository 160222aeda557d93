"""Drift: images of the same kind are not warned of, others are."""

import numpy as np
import pytest
from scipy.stats import chisquare

from tasks.evaluation.drift import discrepancy, drift, same_mix, sentences, stability_index
from tests.tasks.evaluation.test_novelty import cloud

SAME = {"a": 60, "b": 40}


def test_images_of_the_same_kind_do_not_drift() -> None:
    """At 5 %, about one draw in twenty is called different; the distance of a set to itself is 0."""
    p_values = [discrepancy(cloud(60, seed), cloud(40, 1000 + seed), seed)[1] for seed in range(60)]
    assert 0 <= np.mean(np.array(p_values) <= 0.05) <= 0.15
    assert np.median(p_values) > 0.2
    assert discrepancy(cloud(50, 0), cloud(50, 0))[0] == pytest.approx(0, abs=1e-9)


def test_images_of_another_kind_do() -> None:
    """Features that point elsewhere are told apart, the farther the more surely; how long they are doesn't count."""
    distance, p_value = discrepancy(cloud(100, 0), cloud(60, 1, towards=1))
    assert p_value == 0.001
    assert distance > 3 * discrepancy(cloud(100, 0), cloud(60, 1))[0]
    assert discrepancy(cloud(100, 0), 7 * cloud(60, 1, towards=1))[0] == pytest.approx(distance, rel=1e-4)


def test_a_warning_is_one_sentence_with_its_figures() -> None:
    """One of the features, one of the classes; none where there is no drift."""
    calm = drift(cloud(200, 0), cloud(100, 1), SAME, {"a": 62, "b": 38})
    assert sentences(calm, 0.99) == []
    drifted = drift(cloud(200, 0), cloud(100, 1, towards=1), SAME, {"a": 10, "b": 90})
    of_features, of_classes = sentences(drifted, 0.99)
    assert f"distance of their features {drifted.distance:.3f}, p = 0.001, 100 images" in of_features
    assert f"population stability index {drifted.stability_index:.2f}, p < 0.001" in of_classes


def test_a_few_images_say_nothing() -> None:
    """Neither of features nor of classes."""
    drifted = drift(cloud(200, 0), cloud(5, 1, towards=1), SAME, {"b": 5})
    assert (drifted.distance, drifted.p_value, drifted.stability_index, drifted.classes_p_value) == (None,) * 4
    assert sentences(drifted, 0.99) == []


def test_mixes_of_classes() -> None:
    """The index is 0 for the same shares and as by hand for others; a new class is the largest shift."""
    assert stability_index(SAME, {"a": 600, "b": 400}) == pytest.approx(0)
    by_hand = (0.5 - 0.6) * np.log(0.5 / 0.6) + (0.5 - 0.4) * np.log(0.5 / 0.4)
    assert stability_index(SAME, {"a": 50, "b": 50}) == pytest.approx(by_hand)
    assert stability_index(SAME, {"c": 50}) > 1 > stability_index(SAME, {"a": 50, "b": 50})
    assert same_mix(SAME, {"a": 600, "b": 400}) == pytest.approx(1)
    assert same_mix({"a": 10}, {"a": 3}) == 1
    known = {"a": 60_000_000, "b": 40_000_000}  # so many that their shares are certain
    assert same_mix(known, {"a": 40, "b": 60}) == pytest.approx(chisquare([40, 60], [60, 40]).pvalue, rel=0.01)
