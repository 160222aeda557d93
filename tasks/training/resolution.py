"""Progressive resolution: the first epochs see smaller images, which cost less.

Tan and Le, EfficientNetV2: Smaller Models and Faster Training (ICML 2021, section 4), after Howard's progressive
resizing (fast.ai, DAWNBench, 2018).
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from tasks.errors import UserError
from tasks.strategies.surgery import Adapted

GROWN_AFTER = 0.6  # of the epochs
STEP = 32  # what most networks halve their input to


def side_of_epoch(start: int | None, full: int, epoch: int, epochs: int) -> int:
    """Return the side in pixels that the images of an epoch (from 0) have: from ``start`` to ``full`` in even steps.

    Sides on the way are multiples of 32; the last two fifths of the epochs have all pixels.
    """
    growing = GROWN_AFTER * epochs
    if start is None or epoch >= growing:
        return full
    side = start + (full - start) * epoch / growing
    return min(full, max(start, round(side / STEP) * STEP))


def resized(images: Tensor, side: int) -> Tensor:
    """Return images, uint8 of shape (batch, channels, size, size), with another side."""
    if images.shape[-1] == side:
        return images
    smaller: Tensor = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
    return smaller.contiguous(memory_format=torch.channels_last)


def check_sides(adapted: Adapted, start: int | None, full: int, channels: int, epochs: int) -> None:
    """Check that a network takes images of every side that a strategy's epochs have.

    Raises:
        UserError: it doesn't, or the images are smaller than the first.
    """
    if start is None:
        return
    if start > full:
        raise UserError(f"params.yaml: 'start_size: {start}' is more than the images have: data.size is {full}")
    modes = {module: module.training for module in adapted.model.modules()}
    sides = sorted({side_of_epoch(start, full, epoch, epochs) for epoch in range(epochs)})
    try:
        adapted.model.eval().training = adapted.auxiliary_weight > 0  # auxiliary classifiers answer only in training
        for side in sides:
            with torch.inference_mode():
                adapted.model(torch.zeros(2, channels, side, side))
    except Exception as error:
        raise UserError(
            f"params.yaml: this network does not take images of {side} pixels, which 'start_size: {start}' leads to: "
            "choose another, or leave it out"
        ) from error
    finally:
        for module, mode in modes.items():
            module.training = mode
