"""Batches of images from the store: seeded order, augmentation on whole batches, no worker processes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tasks.data.augmentation import Augmentation
from tasks.data.pixels import Pixels

Rows = npt.NDArray[np.int64]
INFERENCE_BATCH = 16  # fits the processor's cache; larger batches were slower


@dataclass(frozen=True)
class Split:
    """The images of one split: rows of the store, and their classes as integers."""

    store: Pixels
    rows: Rows
    targets: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def images(self, chosen: Rows) -> Tensor:
        """Return images as uint8 of shape (batch, channels, size, size) in channels-last memory format."""
        return torch.from_numpy(self.store[self.rows[chosen]]).permute(0, 3, 1, 2)


def generator_for(*key: int) -> torch.Generator:
    """Return the random generator of a place in a training (seed, epoch, step), which needs none of those before it."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1))


def training_batches(
    split: Split, batch_size: int, augment: Augmentation | None, seed: int, epoch: int, start: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield augmented images and targets of one epoch in a drawn order, from step ``start`` on.

    A last batch of a single image is joined to the one before it, since BatchNorm can't normalise one value.
    """
    for step, chosen in enumerate(epoch_order(len(split), batch_size, seed, epoch)):
        if step >= start:
            images = split.images(chosen)
            drawn = images if augment is None else augment(images, generator_for(seed, epoch, step + 1))
            yield drawn, split.targets[chosen]


def epoch_order(count: int, batch_size: int, seed: int, epoch: int) -> list[Rows]:
    """Return the rows of every batch of an epoch, in the order that seed and epoch decide."""
    return split_order(torch.randperm(count, generator=generator_for(seed, epoch)).numpy(), batch_size)


def inference_batches(split: Split) -> Iterator[Tensor]:
    """Yield the images of a split in their order."""
    for start in range(0, len(split), INFERENCE_BATCH):
        yield split.images(np.arange(start, min(start + INFERENCE_BATCH, len(split))))


def split_order(order: Rows, batch_size: int) -> list[Rows]:
    """Cut an order into batches, the last of which has more than one element wherever that is possible."""
    cuts = list(range(batch_size, len(order), batch_size))
    if cuts and len(order) - cuts[-1] == 1:
        cuts.pop()
    return np.split(order, cuts)
