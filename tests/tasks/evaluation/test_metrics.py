"""Metrics against scikit-learn and against cases worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from tasks.arrays import Floats, Integers
from tasks.evaluation import metrics


def drawn(classes: int, images: int = 60, seed: int = 0) -> tuple[Integers, Floats]:
    """Return targets of all classes, and probabilities that know something of them."""
    rng = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(classes), rng.integers(0, classes, images - classes)])
    logits = rng.normal(size=(images, classes)) + np.eye(classes)[targets]
    odds = np.exp(logits)
    return targets, odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_are_scikit_learns(classes: int) -> None:
    """With every class there, each metric is scikit-learn's, one class against the rest."""
    targets, probabilities = drawn(classes)
    predicted, one_hot = probabilities.argmax(axis=1), np.eye(classes)[targets]
    scores = metrics.scores(targets, probabilities)
    assert scores == {
        "accuracy": pytest.approx(sk.accuracy_score(targets, predicted)),
        "balanced_accuracy": pytest.approx(sk.balanced_accuracy_score(targets, predicted)),
        "macro_f1": pytest.approx(sk.f1_score(targets, predicted, average="macro")),
        "auroc": pytest.approx(sk.roc_auc_score(one_hot, probabilities, average="macro")),
        "average_precision": pytest.approx(sk.average_precision_score(one_hot, probabilities, average="macro")),
        "ece": scores["ece"],
        "log_loss": pytest.approx(sk.log_loss(targets, probabilities)),
    }


@given(classes=st.integers(2, 4), images=st.integers(1, 30), digits=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_ranks_and_counts_are_scikit_learns(classes: int, images: int, digits: int, seed: int) -> None:
    """Whatever classes occur and however many answers tie, areas and recalls are those of the curves and tables."""
    rng = np.random.default_rng(seed)
    targets, probabilities = rng.integers(0, classes, images), rng.random((images, classes)).round(digits)
    present = np.unique(targets)
    recalls = [(probabilities.argmax(axis=1)[targets == c] == c).mean() for c in present]
    assert metrics.balanced_accuracy(targets, probabilities) == pytest.approx(np.mean(recalls))
    if len(present) > 1:
        areas = [sk.roc_auc_score(targets == c, probabilities[:, c]) for c in present]
        assert metrics.auroc(targets, probabilities) == pytest.approx(np.mean(areas))
    else:
        assert metrics.auroc(targets, probabilities) is None


def test_two_classes_have_the_binary_auroc() -> None:
    """With two classes the mean over both is the usual figure."""
    targets, probabilities = drawn(2)
    assert metrics.scores(targets, probabilities)["auroc"] == pytest.approx(
        sk.roc_auc_score(targets, probabilities[:, 1])
    )


def test_a_missing_class_is_left_out() -> None:
    """Means are over the classes that occur; a class without images neither helps nor harms."""
    targets, probabilities = drawn(3)
    kept = targets != 1
    targets, probabilities = targets[kept], probabilities[kept]
    predicted = probabilities.argmax(axis=1)
    scores = metrics.scores(targets, probabilities)
    recalls = [(predicted[targets == c] == c).mean() for c in (0, 2)]
    areas = [sk.roc_auc_score(targets == c, probabilities[:, c]) for c in (0, 2)]
    assert scores["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert scores["auroc"] == pytest.approx(np.mean(areas))
    assert scores["macro_f1"] == pytest.approx(sk.f1_score(targets, predicted, labels=[0, 2], average="macro"))


def test_a_single_class_leaves_ranking_undefined() -> None:
    """Nothing can be ranked against nothing: None, never a made-up figure; the rest is defined."""
    _, probabilities = drawn(3)
    scores = metrics.scores(np.full(len(probabilities), 2), probabilities)
    assert scores["auroc"] is None
    assert scores["average_precision"] is None
    assert scores["accuracy"] == pytest.approx((probabilities.argmax(axis=1) == 2).mean())


def test_a_certain_mistake_costs_a_finite_loss() -> None:
    """A probability of zero for the truth is a large loss, not an infinite one."""
    loss = metrics.scores(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]]))["log_loss"]
    assert loss is not None
    assert 5 < loss < 100


def test_calibration_by_hand() -> None:
    """Ten answers at 0.8 of which six are right are 0.2 off, five at 0.6 that are all right are 0.4 off."""
    confidence = np.array([0.8] * 10 + [0.6] * 5)
    right = np.array([True] * 6 + [False] * 4 + [True] * 5)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    targets = np.where(right, 0, 1)
    expected = (10 * abs(0.8 - 0.6) + 5 * abs(0.6 - 1.0)) / 15
    assert metrics.expected_calibration_error(targets, probabilities) == pytest.approx(expected)


def test_calibration_bins_do_not_mix() -> None:
    """Over- and underconfidence in different bins add up; in one bin they cancel out."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    targets = np.array([0, 1, 0, 0])
    apart = metrics.expected_calibration_error(targets, probabilities)
    together = metrics.expected_calibration_error(targets, probabilities, bins=1)
    assert apart == pytest.approx((2 * 0.4 + 2 * 0.4) / 4)
    assert together == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("confidence", [1.0, 0.5])
def test_calibration_at_the_ends(confidence: float) -> None:
    """Full certainty falls into the last bin; answers that are as right as they are sure have no error."""
    probabilities = np.array([[confidence, 1 - confidence]] * 2)
    targets = np.array([0, 0 if confidence == 1 else 1])
    assert metrics.expected_calibration_error(targets, probabilities) == pytest.approx(0)


def test_groups_have_their_own_scores() -> None:
    """Each named group is scored by its images alone; images without a group are left out."""
    targets, probabilities = drawn(2, images=40)
    names = np.array(["mono"] * 15 + ["poly"] * 20 + [""] * 5)
    by_group = metrics.by_group(targets, probabilities, names.tolist())
    assert list(by_group) == ["mono", "poly"]
    for name, of_group in by_group.items():
        rows = names == name
        assert of_group["images"] == rows.sum()
        assert of_group | {"images": None} == metrics.scores(targets[rows], probabilities[rows]) | {"images": None}
    assert metrics.by_group(targets, probabilities, [""] * 40) == {}


def test_the_report_counts_every_image_once() -> None:
    """Confusion rows are the truth, columns the answers, and a class without images has a row of zeros."""
    targets = np.array([0, 0, 0, 2, 2])
    probabilities = np.eye(3)[[0, 0, 2, 2, 0]]
    report = metrics.report(targets, probabilities, ["a", "b", "c"], ["", "", "g", "g", ""])
    assert report["confusion"] == [[2, 0, 1], [0, 0, 0], [1, 0, 1]]
    assert report["images"] == 5
    assert report["per_class"]["a"] == {
        "precision": pytest.approx(2 / 3),
        "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(2 / 3),
        "images": 3,
    }
    assert report["per_class"]["b"] == {"precision": 0, "recall": 0, "f1": 0, "images": 0}
    assert report["groups"]["g"]["accuracy"] == 0.5
    assert report["accuracy"] == metrics.scores(targets, probabilities)["accuracy"]
