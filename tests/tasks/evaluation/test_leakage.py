"""What a random split pretends is measured on features whose truth is known."""

from statistics import fmean

import numpy as np
import pytest

from tasks.evaluation.leakage import DRAWS, pretences


def copies(objects: int, each: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return features of copies of objects with random labels: nothing of an object tells another's label."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(objects, 40))
    labels = rng.integers(0, 2, objects)
    features = np.repeat(centres, each, axis=0) + 0.01 * rng.normal(size=(objects * each, 40))
    groups = np.repeat([f"object {i}" for i in range(objects)], each).tolist()
    return features.astype(np.float32), np.repeat(labels, each), groups


def test_copies_make_a_random_split_look_good() -> None:
    """Labels that can't be learned are guessed where groups stay whole, and looked up where copies cross the split."""
    nearest, linear = pretences(*copies(80, 5, 0), held_out=0.3, seed=0)
    assert fmean(nearest.random) > 0.95
    assert fmean(nearest.grouped) == pytest.approx(0.5, abs=0.15)
    assert fmean(linear.random) > fmean(linear.grouped) + 0.1


def test_without_groups_the_two_are_alike() -> None:
    """Where no image belongs to another there is nothing to pretend."""
    features, targets, _ = copies(300, 1, 1)
    features[:, 0] += 3 * targets
    for pretence in pretences(features, targets, [""] * len(targets), held_out=0.3, seed=0):
        assert len(pretence.grouped) == len(pretence.random) == DRAWS
        assert fmean(pretence.grouped) == pytest.approx(fmean(pretence.random), abs=0.05)
