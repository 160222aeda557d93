"""How far the images are from those that a network was pretrained on, by what the network remembers of them.

An architecture records mean and standard deviation of the pretraining's pixels, a BatchNorm those of what reached it.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from tasks.strategies.freezing import NORMS_WITH_STATISTICS
from tasks.strategies.stems import Normalisation
from tasks.strategies.surgery import Adapted
from tasks.training.batches import Split, inference_batches, weights_of
from tasks.training.device import Hardware

IMAGES = 256
LEAST_SPREAD = 1e-3  # of pixels, in the pretraining's standard deviations, so that blank images have a distance


class Moments:
    """Mean and variance a channel of tensors that come one after the other, the channel being their dimension 1."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = torch.zeros(())
        self._squares = torch.zeros(())

    def add(self, values: Tensor) -> None:
        """Take in a tensor of shape (batch, channels, ...)."""
        others = [0, *range(2, values.dim())]
        variance, mean = (moment.double().cpu() for moment in torch.var_mean(values.float(), others, correction=0))
        count = values.numel() // values.shape[1]
        self.count += count
        self._sum = self._sum + count * mean
        self._squares = self._squares + count * (variance + mean.square())

    @property
    def mean(self) -> Tensor:
        """In float64, shape (channels,)."""
        return self._sum / self.count

    @property
    def variance(self) -> Tensor:
        """In float64, shape (channels,)."""
        return (self._squares / self.count - self.mean.square()).clamp(min=0)


def sample(split: Split, images: int = IMAGES) -> Split:
    """Return some of a split's images, always the same, in an order that mixes them."""
    chosen = np.random.default_rng(0).permutation(len(split))[:images]
    return Split(split.store, split.rows[chosen], split.targets[chosen], weights_of(split.weights, chosen))


def pixel_distance(normalisation: Normalisation, split: Split) -> float:
    """Return how far the pixels are from the pretraining's, in its standard deviations.

    The root mean square over the channels of how far the mean is shifted and of the logarithm by which the standard
    deviation is scaled: 0 for pixels as in the pretraining.

    Args:
        normalisation: input statistics of the pretraining.
        split: of which some hundred images are looked at.
    """
    moments = Moments()
    for images in inference_batches(sample(split)):
        moments.add(normalisation(images))
    scaled = moments.variance.sqrt().clamp(min=LEAST_SPREAD).log()
    return float((moments.mean.square() + scaled.square()).mean().sqrt())


def divergences(adapted: Adapted, split: Split, hardware: Hardware) -> dict[str, float]:
    """Return how far what reaches each part's BatchNorm layers is from what reached them in the pretraining.

    For each channel the symmetric Kullback-Leibler divergence (both directions added) between the normal distributions
    that have the layer's running statistics and the images' mean and variance: 0 for the same, 1 for means that are a
    standard deviation apart. The layers before work with the pretraining's statistics, so that a shift of the images
    goes on from part to part. Variances are taken as the layer takes them, with its epsilon.

    Args:
        adapted: the network with its pretrained statistics; left in evaluation mode.
        split: of which some hundred images are looked at.
        hardware: device and precision.

    Returns:
        The mean over the channels by the part's name, from the image to the logits; parts without such layers are
        left out.
    """
    norms = {
        name: module
        for name, module in adapted.model.named_modules()
        if isinstance(module, NORMS_WITH_STATISTICS) and module.running_mean is not None
    }
    if not norms:
        return {}
    seen = _inputs_of(norms, adapted, sample(split), hardware)
    by_part = {}
    for part in adapted.parts:
        of_part = [_divergence(norms[name], moments) for name, moments in seen.items() if part.owns(name)]
        if of_part:
            by_part[part.name] = float(torch.cat(of_part).mean())
    return by_part


def _inputs_of(
    norms: dict[str, nn.modules.batchnorm._BatchNorm], adapted: Adapted, split: Split, hardware: Hardware
) -> dict[str, Moments]:
    """Return the moments of what reaches each of the layers that run."""
    model = adapted.model.to(hardware.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.eval()
    seen = {name: Moments() for name in norms}
    handles = [norm.register_forward_pre_hook(partial(_take, seen[name].add)) for name, norm in norms.items()]
    try:
        for images in inference_batches(split):
            with torch.inference_mode(), hardware.autocast():
                model(adapted.normalisation(images.to(hardware.device)))
    finally:
        for handle in handles:
            handle.remove()
    return {name: moments for name, moments in seen.items() if moments.count}


def _take(add: Callable[[Tensor], None], _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    add(inputs[0])


def _divergence(norm: nn.modules.batchnorm._BatchNorm, moments: Moments) -> Tensor:
    """Return the divergence of each channel."""
    if norm.running_mean is None or norm.running_var is None:
        raise TypeError("a BatchNorm without statistics remembers nothing")
    before, now = norm.running_var.double().cpu() + norm.eps, moments.variance + norm.eps
    apart = (norm.running_mean.double().cpu() - moments.mean).square()
    return ((before + apart) / now + (now + apart) / before) / 2 - 1
