"""Which part of an image speaks for a class.

Where the last stage answers maps: their values times the gradients that they have (HiResCAM: Draelos and Carin, Use
HiResCAM instead of Grad-CAM, 2020), which is Grad-CAM (Selvaraju et al., ICCV 2017) where the head takes their mean.
Where it answers tokens or vectors, or maps of few positions: integrated gradients (Sundararajan et al., ICML 2017).
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from tasks.arrays import Pixels, Singles
from tasks.strategies.stages import BEHIND_STAGES
from tasks.strategies.surgery import Adapted

Map = Singles
FEWEST_POSITIONS = 4  # of maps along a side, below which they tell places no longer apart
STEPS, BATCH = 8, 8  # of integrated gradients
BLUR = 1 / 32  # of a side: gradients of single pixels are noise to the eye


def saliency(adapted: Adapted, pixels: Pixels, place: int, device: torch.device) -> Map:
    """Return how much each pixel speaks for a class: from 0, nothing or against it, to 1, the most in this image.

    Computed in float32: gradients through attention in bfloat16 were slower by far on processors.

    Args:
        adapted: the network; nothing of it trains afterwards.
        pixels: the image, uint8 of shape (height, width, channels).
        place: the class's number.
        device: computes it.

    Returns:
        shape (height, width).
    """
    model = adapted.model.to(device).eval().requires_grad_(False)
    image = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None]
    image = adapted.normalisation(image.to(device)).float()
    maps = _last_maps(adapted, image)
    evidence = _of_pixels(model, image, place) if maps is None else _of_maps(model, maps, image, place)
    evidence = evidence.detach().clamp(min=0)[0, 0].cpu()
    return (evidence / evidence.max() if evidence.max() > 0 else evidence).numpy()


class _Maps(NamedTuple):
    """A module that answers maps of features, and which dimension of them is the features."""

    module: nn.Module
    features: int


def _last_maps(adapted: Adapted, image: Tensor) -> _Maps | None:
    """Return what answers the last stage's maps; None if it answers something else, or too few positions."""
    stage = [part for part in adapted.parts if part.name not in BEHIND_STAGES][-1]
    last: list[tuple[nn.Module, object]] = []

    def note(module: nn.Module, _: object, answer: object) -> None:
        last[:] = [(module, answer)]

    hooks = [module.register_forward_hook(note) for name, module in adapted.model.named_modules() if stage.owns(name)]
    try:
        with torch.no_grad():
            adapted.model(image)
    finally:
        for hook in hooks:
            hook.remove()
    module, answer = last[0] if last else (None, None)
    if module is None or not isinstance(answer, Tensor) or answer.ndim != 4:
        return None
    _, first, middle, third = answer.shape
    if first == third or middle < FEWEST_POSITIONS or middle not in {first, third}:
        return None
    return _Maps(module, 1 if middle == third else 3)


def _of_maps(model: nn.Module, maps: _Maps, image: Tensor, place: int) -> Tensor:
    from captum.attr import LayerGradientXActivation

    method = LayerGradientXActivation(lambda images: _evidence(model, images), maps.module)
    attributed = method.attribute(image.requires_grad_(), target=place).sum(maps.features)
    return F.interpolate(attributed[:, None], image.shape[2:], mode="bilinear", align_corners=False)


def _of_pixels(model: nn.Module, image: Tensor, place: int) -> Tensor:
    """Return the evidence against an image of one colour, the image's mean."""
    from captum.attr import IntegratedGradients

    plain = image.mean((2, 3), keepdim=True).expand_as(image).clone()
    method = IntegratedGradients(lambda images: _evidence(model, images))
    attributed = method.attribute(image, plain, target=place, n_steps=STEPS, internal_batch_size=BATCH)
    sigma = max(image.shape[2:]) * BLUR
    blurred: Tensor = gaussian_blur(attributed.sum(1, keepdim=True).float(), 2 * round(2 * sigma) + 1, sigma)
    return blurred


def _evidence(model: nn.Module, images: Tensor) -> Tensor:
    """Return the logits less their mean, since what raises all of them alike changes no answer."""
    logits: Tensor = model(images)
    return logits - logits.mean(1, keepdim=True)
