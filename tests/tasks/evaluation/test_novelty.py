"""Images unlike the known ones are told from those that are like them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.arrays import Features
from tasks.evaluation.novelty import FAMILIAR_SHARE, NEIGHBOURS, familiar


def cloud(count: int, seed: int, towards: int = 0) -> Features:
    """Return features that point the same way, more or less."""
    rng = np.random.default_rng(seed)
    return (3 * np.eye(8)[towards] + rng.normal(size=(count, 8))).astype(np.float32)


def test_what_is_unlike_is_far() -> None:
    """Nearly all images of the known kind count as known, nearly none of another kind."""
    known = familiar(cloud(300, 0), cloud(200, 1))
    assert (known.distances(cloud(500, 2)) <= known.farthest).mean() > 0.95
    assert (known.distances(-cloud(500, 3)) > known.farthest).mean() > 0.95


def test_of_the_held_out_images_almost_all_are_known() -> None:
    """The threshold is what it says it is."""
    held_out = cloud(400, 1)
    known = familiar(cloud(300, 0), held_out)
    assert (known.distances(held_out) <= known.farthest).mean() == pytest.approx(FAMILIAR_SHARE, abs=1 / 400)


@given(scale=st.floats(0.01, 100))
def test_only_the_direction_counts(scale: float) -> None:
    """Features of another length are as far away; those of a known image with enough twins are not far at all."""
    known = familiar(np.repeat(cloud(20, 0), NEIGHBOURS, axis=0), cloud(50, 1))
    asked = cloud(30, 2)
    np.testing.assert_allclose(known.distances(np.float32(scale) * asked), known.distances(asked), atol=1e-3)
    np.testing.assert_allclose(known.distances(cloud(20, 0)), 0, atol=2e-3)


def test_fewer_known_images_than_neighbours() -> None:
    """A handful of images is enough to measure a distance to."""
    known = familiar(cloud(2, 0), cloud(3, 1))
    assert np.isfinite(known.distances(cloud(4, 2))).all()
