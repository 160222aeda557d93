"""Answers of a network to images, without gradients."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from tasks.engines.answering import Answer
from tasks.strategies.surgery import Adapted
from tasks.training.batches import Split, inference_batches
from tasks.training.device import Hardware
from tasks.training.folding import folded
from tasks.training.tta import NO_TTA, Flips, mean_logits


def predict(
    adapted: Adapted, split: Split, hardware: Hardware, flips: Flips = NO_TTA, engine: Answer | None = None
) -> Tensor:
    """Return the logits of a split in float32, shape (images, classes); nothing of the network trains afterwards.

    ``engine`` is one that answered for these weights before, which needs no setting up; None: a new one.

    Whether weights require gradients decides between kernels that round differently, in inference, too.
    """
    if engine:
        return torch.cat(answers_to(adapted, inference_batches(split), hardware, flips, engine=engine))
    model = adapted.model.to(hardware.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.eval().requires_grad_(False)
    with folded(model):
        return torch.cat(answers_to(adapted, inference_batches(split), hardware, flips))


def answers_to(
    adapted: Adapted,
    batches: Iterable[Tensor],
    hardware: Hardware,
    flips: Flips = NO_TTA,
    without_gradients: Callable[[], AbstractContextManager[object]] = torch.inference_mode,
    engine: Answer | None = None,
) -> list[Tensor]:
    """Return the logits of each batch in float32, on the CPU.

    Args:
        adapted: the network, on the device.
        batches: of images, uint8 of shape (batch, channels, size, size).
        hardware: device, and the way in which it answers.
        flips: the views of an image whose answers are averaged.
        without_gradients: the mode in which the network runs.
        engine: that answered for these weights before; None: a new one.
    """
    answers, answer = [], engine or hardware.answering(adapted.model)
    for images in batches:
        with without_gradients():
            normalised = adapted.normalisation(images.to(hardware.device))
            answers.append(mean_logits(answer, normalised, flips).float().cpu())
    return answers


def to_device(adapted: Adapted, images: Tensor, hardware: Hardware) -> Tensor:
    """Return normalised images on the training device, copied without waiting where that is possible."""
    if hardware.device.type == "cuda":
        images = images.pin_memory().to(hardware.device, non_blocking=True)
    return adapted.normalisation(images)
