"""A fine-tuned network as it is handed over: images in, probabilities out."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tasks.strategies.surgery import Adapted
from tasks.training.tta import NO_TTA, Flips, mean_logits


class ImageClassifier(nn.Module):
    """Resizes and normalises images, answers probabilities.

    Attributes:
        size: working size in pixels.
        flips: views of an image whose mean is the answer.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, adapted: Adapted, size: int, flips: Flips = NO_TTA) -> None:
        super().__init__()
        self.network = adapted.model
        self.size = size
        self.flips = flips
        shape = (1, -1, 1, 1)
        self.register_buffer("mean", torch.tensor(adapted.normalisation.mean).view(shape) * 255)
        self.register_buffer("std", torch.tensor(adapted.normalisation.std).view(shape) * 255)

    def forward(self, images: Tensor) -> Tensor:
        """Return probabilities, shape (batch, classes), for uint8 images, shape (batch, channels, height, width)."""
        size = (self.size, self.size)
        resized = F.interpolate(images.float(), size, mode="bilinear", antialias=True, align_corners=False)
        return mean_logits(self.network, (resized.round() - self.mean) / self.std, self.flips).softmax(1)
