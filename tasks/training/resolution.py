"""Which sizes images have while a network trains: smaller ones cost less, and the last epochs have the size of answers.

A network that was trained on smaller images than it answers needs little to get used to the difference (Touvron et al.,
Fixing the Train-Test Resolution Discrepancy, NeurIPS 2019): the last epochs, at a small rate, see whole images. The
first ones may begin smaller still (Tan and Le, EfficientNetV2: Smaller Models and Faster Training, ICML 2021, section
4, after Howard's progressive resizing, fast.ai, DAWNBench, 2018).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from tasks.errors import UserError
from tasks.params import StrategyParams, TrainSize
from tasks.strategies.freezing import FreezePlan
from tasks.strategies.selectors import HEAD
from tasks.strategies.surgery import Adapted

GROWN_AFTER = 0.6  # of the epochs
STEP = 32  # what most networks halve their input to
RATIO = 1.286  # of the answers' side and the training's: 288 / 224 of Touvron et al.
PRETRAINING = 224  # what most networks were pretrained at; smaller images are worth no saving


@dataclass(frozen=True)
class Sides:
    """Sides in pixels of the images in the epochs of a training.

    Attributes:
        full: of the images that are answered.
        by_epoch: of the training images, growing where the strategy says so.
        behind_thaw_line: the same without growth, for epochs that start with what frozen layers answered, which is
            kept for one side.
        refused: side that the network doesn't take, so that it trains on whole images.
    """

    full: int
    by_epoch: tuple[int, ...]
    behind_thaw_line: tuple[int, ...]
    refused: int | None = None

    def remark(self) -> str | None:
        """Return what people are told of them; None: all are as expected."""
        if self.refused:
            return f"the network takes no images of {self.refused} pixels: trains on whole ones, of {self.full}"
        smaller = sorted({*self.by_epoch} - {self.full})
        return f"trains on {' and '.join(map(str, smaller))} of {self.full} pixels" if smaller else None


def side_of_epoch(start: int, size: int, full: int, whole: int, epoch: int, epochs: int) -> int:
    """Return the side in pixels that the training images of an epoch (from 0) have.

    It grows from ``start`` to ``size`` in even steps, by multiples of 32, over three fifths of the epochs; the last
    ``whole`` epochs have ``full``.
    """
    if epoch >= epochs - whole:
        return full
    growing = GROWN_AFTER * epochs
    if epoch >= growing:
        return size
    side = start + (size - start) * epoch / growing
    return min(size, max(start, round(side / STEP) * STEP))


def suggested_size(full: int) -> int:
    """Return the side to train at for answers at ``full``: 224 for 288, and whole images up to 224."""
    return min(full, max(PRETRAINING, round(full / RATIO / STEP) * STEP))


def training_size(settings: StrategyParams, full: int) -> int:
    """Return the side that a strategy's training images grow to, of answers at ``full``."""
    return suggested_size(full) if settings.size == "auto" else full if settings.size == "full" else settings.size


def sides_of(adapted: Adapted, settings: StrategyParams, plan: FreezePlan, full: int, channels: int) -> Sides:
    """Return the sides of a training's images; epochs of the head alone see whole ones, as the probe does.

    Args:
        adapted: the network; one that takes no others trains on whole images, unless a size was written.
        settings: the strategy's.
        plan: what trains when.
        full, channels: of the images that are answered.

    Raises:
        UserError: the network doesn't take what was written, or the images are smaller.
    """
    size = training_size(settings, full)
    for name, written in (("size", settings.size), ("start_size", settings.start_size)):
        if isinstance(written, int) and written > full:
            raise UserError(f"params.yaml: '{name}: {written}' is more than the images have: data.size is {full}")
    if (settings.start_size or 0) > size:
        raise UserError(f"params.yaml: 'start_size: {settings.start_size}' is more than it grows to, 'size: {size}'")
    sides = _sides(settings, plan, size, full)
    refused = _refused(adapted, sorted({*sides.by_epoch, *sides.behind_thaw_line} - {full}), channels)
    if refused is None:
        return sides
    if settings.size == "auto" and settings.start_size is None:
        return replace(_sides(settings, plan, full, full), refused=refused)
    raise UserError(
        f"params.yaml: this network does not take images of {refused} pixels, which "
        f"{_written(settings.size, settings.start_size)} leads to: choose another, or leave it out"
    )


def resized(images: Tensor, side: int) -> Tensor:
    """Return images, uint8 of shape (batch, channels, size, size), with another side."""
    if images.shape[-1] == side:
        return images
    smaller: Tensor = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
    return smaller.contiguous(memory_format=torch.channels_last)


def _sides(settings: StrategyParams, plan: FreezePlan, size: int, full: int) -> Sides:
    phases = [plan.phases[plan.phase(epoch)[0]] for epoch in range(plan.epochs)]
    below_head = [epoch for epoch, phase in enumerate(phases) if not phase.solved and set(phase.rates) != {HEAD}]

    def of(start: int) -> tuple[int, ...]:
        sides, count = [full] * plan.epochs, len(below_head)
        for place, epoch in enumerate(below_head):
            sides[epoch] = side_of_epoch(start, size, full, settings.full_size_epochs, place, count)
        return tuple(sides)

    return Sides(full, of(settings.start_size or size), of(size))


def _refused(adapted: Adapted, sides: Iterable[int], channels: int) -> int | None:
    """Return the first side of images that a network does not take."""
    modes = {module: module.training for module in adapted.model.modules()}
    device = next(adapted.model.parameters()).device
    try:
        adapted.model.eval().training = adapted.auxiliary_weight > 0  # auxiliary classifiers answer only in training
        for side in sides:
            try:
                with torch.no_grad():
                    adapted.model(torch.zeros(2, channels, side, side, device=device))
            except Exception:
                return side
    finally:
        for module, mode in modes.items():
            module.training = mode
    return None


def _written(size: TrainSize, start: int | None) -> str:
    return f"'start_size: {start}'" if start else f"'size: {size}'"
