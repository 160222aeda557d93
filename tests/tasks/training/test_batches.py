"""Every image is seen once an epoch, in an order that the seed and the epoch decide."""

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.data.augmentation import Augmentation
from tasks.params import AugmentParams, Sampling
from tasks.training.batches import (
    INFERENCE_BATCH,
    Split,
    epoch_order,
    inference_batches,
    split_order,
    training_batches,
)
from tests.tasks.training.conftest import Splits


def numbered(count: int) -> Split:
    """Return a split whose images and targets tell which row they are; the store has other rows, too."""
    store = np.arange(2 * count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), dtype=np.uint8)
    rows = np.arange(2 * count - 1, count - 1, -1)
    return Split(store, rows, torch.from_numpy(rows.copy()))


@given(count=st.integers(2, 120), batch_size=st.integers(2, 40), seed=st.integers(0, 5), epoch=st.integers(0, 5))
def test_every_row_once_an_epoch(count: int, batch_size: int, seed: int, epoch: int) -> None:
    """No row is left out or repeated, images keep their targets, and no batch has a single image."""
    split = numbered(count)
    batches = list(training_batches(split, batch_size, None, seed, epoch))
    targets = torch.cat([batch.targets for batch in batches])
    assert sorted(targets.tolist()) == sorted(split.rows.tolist())
    assert torch.equal(torch.cat([batch.inputs[:, 0, 0, 0] for batch in batches]).long(), targets)
    sizes = [len(batch.targets) for batch in batches]
    assert min(sizes) >= 2
    assert all(size == batch_size for size in sizes[:-1])
    assert sizes[-1] <= batch_size + 1


@given(count=st.integers(1, 60), batch_size=st.integers(1, 70))
def test_cutting_keeps_the_order(count: int, batch_size: int) -> None:
    """Batches put together are the order again, whatever its length."""
    order = np.random.default_rng(count).permutation(count)
    batches = split_order(order, batch_size)
    assert np.array_equal(np.concatenate(batches), order)
    assert all(len(batch) for batch in batches)


def drawn(seed: int, epoch: int, augment: Augmentation | None, split: Split) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all images and targets of an epoch."""
    images, targets, _ = zip(*training_batches(split, 16, augment, seed, epoch), strict=True)
    return torch.cat(images), torch.cat(targets)


def test_an_epoch_can_be_drawn_again(splits: Splits) -> None:
    """Seed and epoch decide order and augmentation; another seed or epoch gives other ones."""
    augment = Augmentation(AugmentParams(crop=0.6, brightness=0.3), upright=False)
    images, _ = drawn(1, 2, augment, splits.train)
    assert torch.equal(drawn(1, 2, augment, splits.train)[0], images)
    for seed, epoch in ((1, 3), (2, 2), (2, 1)):
        assert not torch.equal(drawn(seed, epoch, augment, splits.train)[0], images)


@pytest.mark.parametrize("sampling", ["natural", "balanced"])
@given(start=st.integers(0, 4))
def test_an_epoch_can_be_taken_up_at_any_step(splits: Splits, sampling: Sampling, start: int) -> None:
    """From a step on, images, targets and weights are those that the whole epoch has there."""
    augment = Augmentation(AugmentParams(crop=0.6, brightness=0.3), upright=False)
    split = replace(splits.train, weights=torch.arange(len(splits.train)).float())
    whole = list(training_batches(split, 12, augment, 1, 2, sampling=sampling))
    rest = list(training_batches(split, 12, augment, 1, 2, start, sampling))
    assert len(rest) == len(whole) - start
    for batch, same in zip(whole[start:], rest, strict=True):
        assert all(torch.equal(part, same_part) for part, same_part in zip(batch, same, strict=True))


def drawn_rows(targets: torch.Tensor, weights: torch.Tensor | None, epochs: int) -> np.ndarray[Any, Any]:
    """Return the rows that balanced sampling draws, shape (epochs, rows)."""
    orders = (epoch_order(targets, weights, 7, 3, epoch, "balanced") for epoch in range(epochs))
    return np.stack([np.concatenate(order) for order in orders])


def test_balanced_sampling_evens_out_the_classes() -> None:
    """However rare a class, it has its share of an epoch as long as before, and all of its images take part alike."""
    targets = torch.tensor([0] * 70 + [3] * 25 + [1] * 5)
    rows = drawn_rows(targets, None, 400)
    assert rows.shape == (400, 100)
    assert len(np.unique(rows, axis=0)) == 400, "every epoch is drawn anew"
    shares = np.bincount(targets.numpy()[rows].ravel()) / rows.size
    assert shares == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3], abs=0.01)
    seen = np.bincount(rows.ravel(), minlength=100)
    for images in (seen[:70], seen[70:95], seen[95:]):
        assert images == pytest.approx(np.full(len(images), images.mean()), rel=0.35)


def test_balanced_sampling_does_not_draw_images_that_do_not_count() -> None:
    """Images of weight 0 are no part of their class, and a class of such images alone is left out."""
    targets = torch.tensor([0] * 10 + [1] * 10 + [2] * 10)
    weights = torch.tensor([1.0] * 10 + [0.5] * 2 + [0.0] * 18)
    rows = drawn_rows(targets, weights, 200)
    assert set(rows.ravel().tolist()) == set(range(12))
    assert np.mean(rows >= 10) == pytest.approx(0.5, abs=0.02)


def test_images_keep_their_weights() -> None:
    """Whatever the order, a weight comes with the image it belongs to."""
    split = numbered(20)
    weighted = replace(split, weights=split.targets.float() / 7)
    for sampling in get_args(Sampling):
        for batch in training_batches(weighted, 6, None, 0, 0, sampling=sampling):
            assert batch.weights is not None
            torch.testing.assert_close(batch.weights, batch.inputs[:, 0, 0, 0] / 7)


def test_augmentation_does_not_reach_the_store(splits: Splits) -> None:
    """Training batches are changed copies; the images of the store and of inference are as they were."""
    before = torch.cat(list(inference_batches(splits.train)))
    augment = Augmentation(AugmentParams(brightness=0.5), upright=False)
    images, _ = drawn(0, 0, augment, splits.train)
    assert images.shape == before.shape
    assert sorted(images.flatten(1).sum(1).tolist()) != sorted(before.flatten(1).sum(1).tolist())
    assert torch.equal(torch.cat(list(inference_batches(splits.train))), before)


@given(count=st.integers(1, 50))
def test_inference_keeps_the_order(count: int) -> None:
    """Predictions line up with the rows of a split."""
    split = numbered(count)
    batches = list(inference_batches(split))
    assert torch.cat(batches)[:, 0, 0, 0].tolist() == split.rows.tolist()
    assert max(len(batch) for batch in batches) <= INFERENCE_BATCH


def test_images_have_channels_first(splits: Splits) -> None:
    """An image's pixels are those of the store, its channel in front."""
    images = splits.train.images(np.array([3, 0]))
    assert images.shape == (2, 1, 32, 32)
    assert images.dtype == torch.uint8
    assert np.array_equal(images[0, 0].numpy(), splits.train.store[splits.train.rows[3], :, :, 0])
