"""Augmentation as a number of versions of every image, so that what frozen layers answer for them can be kept.

Which version of an image an epoch shows depends on the seed; what a version is does not, so that strategies and seeds
share them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from tasks import stopping
from tasks.arrays import Integers
from tasks.data.augmentation import Augmentation, Changes
from tasks.params import Sampling
from tasks.training.batches import Batch, LocalRows, Rows, Split, epoch_order, generator_for, weights_of

PLAIN = -1  # the version of an image that is the image
SEED_OF_VIEWS = 0x71E75


@dataclass(frozen=True)
class Views:
    """The versions of a split's images.

    Attributes:
        split: the images.
        augment: what their versions differ by.
        count: number of versions of each; 0: only the images as they are.
    """

    split: Split
    augment: Augmentation
    count: int
    _drawn: dict[int, Changes] = field(default_factory=dict, repr=False)

    @property
    def all(self) -> list[int]:
        """Every version that there is."""
        return list(range(self.count)) or [PLAIN]

    def of_epoch(self, seed: int, epoch: int) -> Integers:
        """Return the version of each of the split's images that an epoch shows: all in turn, from a drawn one on."""
        if not self.count:
            return np.full(len(self.split), PLAIN)
        first: Integers = torch.randint(
            self.count, (len(self.split),), generator=generator_for(seed, SEED_OF_VIEWS)
        ).numpy()
        return (first + epoch) % self.count

    def images(self, chosen: Rows, view: int) -> Tensor:
        """Return a version of some of the split's images, uint8 of shape (images, channels, size, size)."""
        images = self.split.images(chosen)
        if view == PLAIN:
            return images
        if view not in self._drawn:
            generator = generator_for(SEED_OF_VIEWS, view)
            self._drawn[view] = self.augment.draw(len(self.split.store), generator)
        return self.augment.change(images, self._drawn[view].of(torch.from_numpy(self.split.rows[chosen])))


def batches_of_views(
    views: Views,
    inputs_of: Callable[[Rows, int], Tensor],
    batch_size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    sampling: Sampling = "natural",
    local_rows: LocalRows = np.arange,
) -> Iterator[Batch]:
    """Yield the batches of one epoch, each image in the version that it shows, in a drawn order from step ``start`` on.

    Args:
        views: the versions of the training split's images.
        inputs_of: returns what the network is given for some images in a version.
        batch_size, seed, epoch, start, sampling, local_rows: as of ``training_batches``.
    """
    split, shown = views.split, views.of_epoch(seed, epoch)
    order = epoch_order(split.targets, split.weights, batch_size, seed, epoch, sampling)
    for chosen in stopping.between(order[start:]):
        rows = chosen[local_rows(len(chosen))]
        yield Batch(in_order(shown[rows], rows, inputs_of), split.targets[chosen], weights_of(split.weights, chosen))


def in_order(views: Integers, rows: Rows, inputs_of: Callable[[Rows, int], Tensor]) -> Tensor:
    """Return what ``inputs_of`` answers for images of several versions, asked version by version, in their order."""
    pieces, places = [], []
    for view, at in by_view(views):
        places.append(at)
        pieces.append(inputs_of(rows[at], view))
    batch = torch.cat(pieces)[torch.from_numpy(np.argsort(np.concatenate(places))).to(pieces[0].device)]
    return batch.contiguous(memory_format=torch.channels_last) if batch.dim() == 4 else batch


def by_view(views: Integers) -> Iterator[tuple[int, Rows]]:
    """Yield each version that occurs, and the places at which it does."""
    for view in np.unique(views):
        yield int(view), np.flatnonzero(views == view)
