"""What every stage of a network answers, pooled: features for linear probes of other depths than the head's."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from tasks.strategies.surgery import Adapted
from tasks.training.batches import Split, inference_batches
from tasks.training.device import Hardware

NO_STAGES = ("stem", "aux", "head")


def stage_features(adapted: Adapted, split: Split, hardware: Hardware) -> list[Tensor]:
    """Return the mean over the places of what each stage answers for every image, on the CPU.

    Args:
        adapted: the network; left in evaluation mode.
        split: the images.
        hardware: device and precision.

    Returns:
        Float32 of shape (images, channels) a stage, from the image to the head.
    """
    model = adapted.model.to(hardware.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.eval().requires_grad_(False)
    batches: list[list[Tensor]] = []
    with _last_answers(adapted) as answers:
        for images in inference_batches(split):
            with torch.inference_mode(), hardware.autocast():
                model(adapted.normalisation(images.to(hardware.device)))
            batches.append([_pooled(answers[name]).float().cpu() for name in answers])
    return [torch.cat(of_stage).clone() for of_stage in zip(*batches, strict=True)]


@contextmanager
def _last_answers(adapted: Adapted) -> Iterator[dict[str, Tensor]]:
    """Yield what each stage answered last, by its name, as long as the block runs."""
    answers: dict[str, Tensor] = {}
    stages = [part for part in adapted.parts if part.name not in NO_STAGES]
    handles = []
    for stage in stages:
        owned = {name: module for name, module in adapted.model.named_modules() if name and stage.owns(name)}
        for name, module in owned.items():
            if name.rpartition(".")[0] not in owned:  # a module within another answers before it
                handles.append(module.register_forward_hook(partial(_keep, answers, stage.name)))
    try:
        yield answers
    finally:
        for handle in handles:
            handle.remove()


def _keep(answers: dict[str, Tensor], stage: str, _: nn.Module, __: tuple[Tensor, ...], answer: object) -> None:
    if isinstance(answer, Tensor):
        answers[stage] = answer


def _pooled(answer: Tensor) -> Tensor:
    """Return an answer's mean over the places: of maps (images, channels, height, width), or of tokens."""
    if answer.dim() == 4:
        return answer.float().mean((2, 3))
    return answer.float().mean(1) if answer.dim() == 3 else answer.flatten(1)
