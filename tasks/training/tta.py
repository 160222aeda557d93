"""Test-time augmentation: the answer to an image is the mean over the image and its flips.

Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks (NeurIPS 2012), section 4.1.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Flips = tuple[tuple[int, ...], ...]  # dimensions of a batch that are turned round, a tuple for every view

NO_TTA: Flips = ((),)
HORIZONTAL_FLIP: Flips = ((), (3,))
ALL_FLIPS: Flips = ((), (3,), (2,), (2, 3))


def tta_flips(*, tta: bool, upright: bool) -> Flips:
    """Return the views that are answered: for images that have an up, only left and right change places."""
    if not tta:
        return NO_TTA
    return HORIZONTAL_FLIP if upright else ALL_FLIPS


def mean_logits(network: Callable[[Tensor], Tensor], images: Tensor, flips: Flips) -> Tensor:
    """Return logits of shape (batch, classes), whose softmax is the mean probability over the views.

    Args:
        network: answers logits.
        images: of shape (batch, channels, height, width).
        flips: the views; without any flip the logits are returned as they are.
    """
    if flips == NO_TTA:
        return network(images)
    views = torch.stack([network(images.flip(dimensions)).float().log_softmax(1) for dimensions in flips])
    return views.logsumexp(0) - math.log(len(flips))
