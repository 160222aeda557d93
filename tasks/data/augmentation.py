"""Random changes of whole batches, as tensor operations."""

from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from tasks.params import AugmentParams


@dataclass(frozen=True)
class Changes:
    """What is drawn for each of some images; the first dimension of every tensor is theirs.

    Attributes:
        mirrored: left and right change places, bool.
        flipped: top and bottom change places, bool.
        turns: quarter turns against the clock, integers from 0 to 3.
        sides: side of the crop as a share of the image's, float32.
        shifts: of the crop's centre to the right and downwards, in halves of the image's side, float32 of shape
            (images, 2).
        contrast, brightness: added to 1, and times 255, float32.
    """

    mirrored: Tensor
    flipped: Tensor
    turns: Tensor
    sides: Tensor
    shifts: Tensor
    contrast: Tensor
    brightness: Tensor

    def of(self, chosen: Tensor) -> "Changes":
        """Return the changes of some of the images."""
        return Changes(*(getattr(self, field.name)[chosen] for field in fields(self)))


@dataclass(frozen=True)
class Augmentation:
    """Flips, quarter turns, crops and brightness, drawn per image from the generator that is passed in.

    Attributes:
        upright: the images have an up, so that only left-right mirroring keeps their meaning.
    """

    params: AugmentParams
    upright: bool

    def identity(self) -> dict[str, Any]:
        """Return what the changes depend on besides the generator, as plain data."""
        return {**self.params.model_dump(), "upright": self.upright}

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return a changed copy of ``images``, uint8 of shape (batch, channels, size, size)."""
        return self.change(images, self.draw(len(images), generator))

    def draw(self, count: int, generator: torch.Generator) -> Changes:
        """Draw the changes of ``count`` images."""
        params, never = self.params, torch.zeros(count, dtype=torch.bool)
        turnable = not self.upright
        mirrored = torch.rand(count, generator=generator) < 0.5 if params.flips else never
        flipped = torch.rand(count, generator=generator) < 0.5 if params.flips and turnable else never
        turned = params.quarter_turns and turnable
        turns = torch.randint(4, (count,), generator=generator) if turned else torch.zeros(count, dtype=torch.int64)
        sides, shifts = torch.ones(count), torch.zeros(count, 2)
        if params.crop < 1:
            sides = (params.crop + (1 - params.crop) * torch.rand(count, generator=generator)).sqrt()
            shifts = (torch.rand(count, 2, generator=generator) * 2 - 1) * (1 - sides)[:, None]
        contrast = brightness = torch.zeros(count)
        if params.brightness > 0:
            contrast, brightness = (torch.rand(2, count, generator=generator) * 2 - 1) * params.brightness
        return Changes(mirrored, flipped, turns, sides, shifts, contrast, brightness)

    def change(self, images: Tensor, changes: Changes) -> Tensor:
        """Return a copy of ``images``, uint8 of shape (batch, channels, size, size), with changes drawn for them."""
        images = images.clone(memory_format=torch.channels_last)
        for chosen, dimension in ((changes.mirrored, 3), (changes.flipped, 2)):
            images[chosen] = images[chosen].flip(dimension)
        for quarter in (1, 2, 3):
            chosen = changes.turns == quarter
            images[chosen] = images[chosen].rot90(quarter, (2, 3))
        if self.params.crop < 1:
            images = _crop(images, changes)
        if self.params.brightness > 0:
            images = _brighten(images, changes)
        return images


def _crop(images: Tensor, changes: Changes) -> Tensor:
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = changes.sides
    theta[:, :, 2] = changes.shifts
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    sampled = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return sampled.round().to(torch.uint8).contiguous(memory_format=torch.channels_last)


def _brighten(images: Tensor, changes: Changes) -> Tensor:
    contrast, brightness = changes.contrast[:, None, None, None], changes.brightness[:, None, None, None]
    pixels = images.float()
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    changed: Tensor = mean + (pixels - mean) * (1 + contrast) + 255 * brightness
    return changed.clamp(0, 255).round().to(torch.uint8)
