"""Batches of images from the store: seeded order, augmentation on whole batches, no worker processes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tasks import stopping
from tasks.arrays import Integers, Pixels
from tasks.data.augmentation import Augmentation
from tasks.data.store import unmap
from tasks.params import Sampling

Rows = Integers
LocalRows = Callable[[int], Rows]  # of a batch of so many images, the places of those that this process runs
INFERENCE_BATCH = 16  # fits the processor's cache; larger batches were slower


@dataclass(frozen=True)
class Split:
    """The images of one split.

    Attributes:
        store: the decoded images, of all splits.
        rows: the split's rows of it.
        targets: classes as integers, shape (images,).
        weights: how much each image counts in the training loss, float32 of shape (images,), none below 0: one of
            weight 2 counts as two, one of weight 0 not at all. None: all count alike.
    """

    store: Pixels
    rows: Rows
    targets: Tensor
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def images(self, chosen: Rows) -> Tensor:
        """Return images as uint8 of shape (batch, channels, size, size) in channels-last memory format."""
        images = torch.from_numpy(self.store[self.rows[chosen]]).permute(0, 3, 1, 2)
        unmap(self.store)
        return images


class Batch(NamedTuple):
    """What one step of the optimizer sees.

    Attributes:
        inputs: images, or the features that stand for them, of which this process has its own rows; the first dimension
            is theirs.
        targets: classes as integers, shape (batch,).
        weights: of the images in the loss, shape (batch,); None: all count alike.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None = None


def generator_for(*key: int) -> torch.Generator:
    """Return the random generator of a place in a training (seed, epoch, step), which needs none of those before it."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1))


def training_batches(
    split: Split,
    batch_size: int,
    augment: Augmentation | None,
    seed: int,
    epoch: int,
    start: int = 0,
    sampling: Sampling = "natural",
    local_rows: LocalRows = np.arange,
) -> Iterator[Batch]:
    """Yield the batches of one epoch, images augmented, in a drawn order from step ``start`` on.

    A last batch of a single image is joined to the one before it, since BatchNorm can't normalise one value.
    """
    order = epoch_order(split.targets, split.weights, batch_size, seed, epoch, sampling)
    for step, chosen in enumerate(stopping.between(order)):
        if step >= start:
            places = local_rows(len(chosen))
            images = split.images(chosen[places])
            if augment is not None:
                changes = augment.draw(len(chosen), generator_for(seed, epoch, step + 1))
                images = augment.change(images, changes.of(torch.from_numpy(places)))
            yield Batch(images, split.targets[chosen], weights_of(split.weights, chosen))


def epoch_order(
    targets: Tensor, weights: Tensor | None, batch_size: int, seed: int, epoch: int, sampling: Sampling
) -> list[Rows]:
    """Return the rows of every batch of an epoch, in the order that seed and epoch decide.

    ``balanced`` draws as many rows as there are, with replacement: every class with the same probability, and every
    image within it. Images of weight 0 are not drawn; how large other weights are matters in nothing but the loss.
    """
    generator = generator_for(seed, epoch)
    if sampling == "balanced":
        order = torch.multinomial(_chances(targets, weights), len(targets), replacement=True, generator=generator)
    else:
        order = torch.randperm(len(targets), generator=generator)
    return split_order(order.numpy(), batch_size)


def weights_of(weights: Tensor | None, chosen: Rows | slice) -> Tensor | None:
    """Return the weights of some images, where there are weights."""
    return None if weights is None else weights[chosen]


def inference_rows(split: Split) -> list[Rows]:
    """Return the places of a split's images in their order, cut into batches."""
    return [
        np.arange(start, min(start + INFERENCE_BATCH, len(split))) for start in range(0, len(split), INFERENCE_BATCH)
    ]


def inference_batches(split: Split, rows: Sequence[Rows] | None = None) -> Iterator[Tensor]:
    """Yield the images of a split in their order, or the batches of them that are named."""
    for chosen in stopping.between(inference_rows(split) if rows is None else rows):
        yield split.images(chosen)


def split_order(order: Rows, batch_size: int) -> list[Rows]:
    """Cut an order into batches, the last of which has more than one element wherever that is possible."""
    cuts = list(range(batch_size, len(order), batch_size))
    if cuts and len(order) - cuts[-1] == 1:
        cuts.pop()
    return np.split(order, cuts)


def _chances(targets: Tensor, weights: Tensor | None) -> Tensor:
    """Return how likely balanced sampling draws each row, up to a factor: float64 of shape (rows,)."""
    counts_at_all = torch.ones_like(targets, dtype=torch.float64) if weights is None else (weights > 0).double()
    return counts_at_all / torch.bincount(targets, weights=counts_at_all).clamp(min=1)[targets]
