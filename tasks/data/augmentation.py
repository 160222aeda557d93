"""Random changes of whole batches, as tensor operations."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from tasks.params import AugmentParams


@dataclass(frozen=True)
class Augmentation:
    """Flips, quarter turns, crops and brightness, drawn per image from the generator that is passed in.

    Attributes:
        upright: the images have an up, so that only left-right mirroring keeps their meaning.
    """

    params: AugmentParams
    upright: bool

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return a changed copy of ``images``, uint8 of shape (batch, channels, size, size)."""
        count = len(images)
        images = images.clone(memory_format=torch.channels_last)
        if self.params.flips:
            _flip(images, 3, generator)
            if not self.upright:
                _flip(images, 2, generator)
        if self.params.quarter_turns and not self.upright:
            turns = torch.randint(4, (count,), generator=generator)
            for quarter in (1, 2, 3):
                chosen = turns == quarter
                images[chosen] = images[chosen].rot90(quarter, (2, 3))
        if self.params.crop < 1:
            images = _crop(images, self.params.crop, generator)
        if self.params.brightness > 0:
            images = _brighten(images, self.params.brightness, generator)
        return images


def _flip(images: Tensor, dimension: int, generator: torch.Generator) -> None:
    chosen = torch.rand(len(images), generator=generator) < 0.5
    images[chosen] = images[chosen].flip(dimension)


def _crop(images: Tensor, smallest: float, generator: torch.Generator) -> Tensor:
    count = len(images)
    side = (smallest + (1 - smallest) * torch.rand(count, generator=generator)).sqrt()
    shift = (torch.rand(count, 2, generator=generator) * 2 - 1) * (1 - side)[:, None]
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = side
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    sampled = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return sampled.round().to(torch.uint8).contiguous(memory_format=torch.channels_last)


def _brighten(images: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    contrast, brightness = (torch.rand(2, len(images), 1, 1, 1, generator=generator) * 2 - 1) * largest
    pixels = images.float()
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    changed: Tensor = mean + (pixels - mean) * (1 + contrast) + 255 * brightness
    return changed.clamp(0, 255).round().to(torch.uint8)
