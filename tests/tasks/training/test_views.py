"""Versions of images: which one an epoch shows, and that a version is always the same."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.data.augmentation import Augmentation
from tasks.params import AugmentParams
from tasks.training.views import PLAIN, Views, by_view
from tests.tasks.training.conftest import Splits

AUGMENT = Augmentation(AugmentParams(crop=0.5, brightness=0.3), upright=False)


def test_a_version_depends_on_the_image_alone(splits: Splits) -> None:
    """In whichever batch, of whichever split and object, a version of an image has the same pixels."""
    views, others = Views(splits.train, AUGMENT, 3), Views(splits.train, AUGMENT, 5)
    everything = views.images(np.arange(len(splits.train)), 1)
    chosen = np.array([5, 2, 40])
    assert torch.equal(others.images(chosen, 1), everything[torch.from_numpy(chosen)])
    assert not torch.equal(views.images(chosen, 2), views.images(chosen, 1))


def test_no_versions_are_the_images(splits: Splits) -> None:
    """Without versions every epoch shows the images as they are."""
    plain = Views(splits.train, AUGMENT, 0)
    assert set(plain.of_epoch(0, 3)) == {PLAIN}
    assert torch.equal(plain.images(np.arange(8), PLAIN), splits.train.images(np.arange(8)))


@given(count=st.integers(1, 6), seed=st.integers(0, 9), epoch=st.integers(0, 50))
def test_every_version_has_its_turn(splits: Splits, count: int, seed: int, epoch: int) -> None:
    """Any ``count`` epochs in a row show every version of every image once."""
    views = Views(splits.train, AUGMENT, count)
    shown = np.stack([views.of_epoch(seed, epoch + later) for later in range(count)])
    assert (np.sort(shown, axis=0) == np.arange(count)[:, None]).all()


@given(views=st.lists(st.integers(-1, 3), min_size=1, max_size=40))
def test_places_by_version(views: list[int]) -> None:
    """Each place is named once, under its version."""
    shown = {int(place): view for view, places in by_view(np.array(views)) for place in places}
    assert shown == dict(enumerate(views))
