"""Wrong labels are found by what a model that did not see them says."""

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from tasks.arrays import Floats, Integers
from tasks.evaluation.label_noise import confident_classes, surely_wrong, suspects

LUCK = 0.01


def out_of_sample(features: Floats, labels: Integers) -> Floats:
    """Return probabilities for every image by a model that was trained on the others."""
    model = LogisticRegression(C=0.1, max_iter=50)
    probabilities: Floats = cross_val_predict(model, features, labels, cv=3, method="predict_proba")
    return probabilities


def digits() -> tuple[Floats, Integers]:
    """Return images of digits."""
    features, labels = load_digits(return_X_y=True)
    return features / 16, labels


def turned(labels: Integers, share: float, classes: int) -> Integers:
    """Return labels of which a share is any other class."""
    rng = np.random.default_rng(0)
    others = (labels + rng.integers(1, classes, len(labels))) % classes
    turned: Integers = np.where(rng.random(len(labels)) < share, others, labels)
    return turned


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_wrong_labels_are_found(share: float) -> None:
    """Most of them are among the suspects, most suspects are wrong, and first come those that surely are."""
    features, truth = digits()
    labels = turned(truth, share, 10)
    doubted = suspects(labels, out_of_sample(features, labels))
    wrong = set(np.flatnonzero(labels != truth))
    places = [suspect.image for suspect in doubted]
    assert len(wrong & {*places}) > 0.6 * len(wrong)
    assert len(wrong & {*places}) > 0.6 * len(places)
    assert len(wrong & {*places[:20]}) >= 19
    assert [s.margin for s in doubted] == sorted(s.margin for s in doubted)
    right = [truth[s.image] == s.suggested for s in doubted if s.image in wrong]
    assert np.mean(right) > 0.9
    assert all(labels[s.image] == s.given != s.suggested for s in doubted)


def test_the_confident_joint_by_hand() -> None:
    """A class's threshold is the mean probability of the images labelled so; the most probable above theirs wins."""
    labels = np.array([0, 0, 1, 1, 1, 0])
    first = np.array([0.9, 0.1, 0.2, 0.3, 0.8, 0.5])
    probabilities = np.stack([first, 1 - first], axis=1)
    assert first[labels == 0].mean() == pytest.approx(0.5)
    assert (1 - first)[labels == 1].mean() == pytest.approx(1.7 / 3)
    assert confident_classes(labels, probabilities).tolist() == [0, 1, 1, 1, 0, 0]
    doubted = suspects(labels, probabilities)
    assert [(s.image, s.given, s.suggested) for s in doubted] == [(1, 0, 1), (4, 1, 0)]
    assert [s.margin for s in doubted] == [pytest.approx(-0.8), pytest.approx(-0.6)]


def test_an_image_may_belong_to_no_class() -> None:
    """Below every threshold nothing is confident; a class that no image is labelled as is never suggested."""
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.2, 0.6], [0.1, 0.9, 0.0], [0.2, 0.8, 0.0]])
    assert confident_classes(labels, probabilities).tolist() == [0, -1, 1, -1]
    assert suspects(labels, probabilities) == []


@pytest.mark.parametrize("share", [0.1, 0.2])
def test_wrong_labels_contradict_sure_answers(share: float) -> None:
    """As often as the others."""
    features, truth = digits()
    labels = turned(truth, share, 10)
    contradicted = surely_wrong(labels, out_of_sample(features, labels))
    assert contradicted.p_value < LUCK
    assert contradicted.wrong / (len(labels) / 4) == pytest.approx(share, abs=0.05)


def test_right_labels_hardly_do() -> None:
    """Neither where classes are told apart with ease, nor where they overlap."""
    features, labels = digits()
    assert surely_wrong(labels, out_of_sample(features, labels)).p_value > LUCK
    for seed in range(5):
        features, labels = make_classification(1200, 20, n_informative=6, flip_y=0, random_state=seed)
        contradicted = surely_wrong(labels, out_of_sample(features, labels))
        assert contradicted.errors > 20
        assert contradicted.p_value > LUCK
