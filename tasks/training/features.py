"""What reaches the head of a network."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tasks.data.augmentation import Augmentation
from tasks.params import AugmentParams
from tasks.strategies.freezing import FreezePlan
from tasks.strategies.surgery import Adapted
from tasks.strategies.thaw_line import names_that_train
from tasks.training.activations import Cache
from tasks.training.batches import Split, inference_batches
from tasks.training.device import Hardware
from tasks.training.feature_cache import CachedFeatures
from tasks.training.folding import folded
from tasks.training.frozen_trunk import frozen_trunk
from tasks.training.inference import answers_to
from tasks.training.progress import Reporter
from tasks.training.views import Views


@contextmanager
def features_of_head(adapted: Adapted) -> Iterator[list[Tensor]]:
    """Collect, for as long as the block runs, what the head is given: float32 of shape (images, features) a batch.

    A convolution as head is given maps, whose mean over the positions is collected.
    """
    seen: list[Tensor] = []

    def catch(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        given = inputs[0].float()
        seen.append(given.mean((2, 3)) if given.dim() == 4 else given.flatten(1))

    handle = adapted.model.get_submodule(adapted.head).register_forward_pre_hook(catch)
    try:
        yield seen
    finally:
        handle.remove()


def features(
    adapted: Adapted, plan: FreezePlan, split: Split, hardware: Hardware, cache: Cache | None, reporter: Reporter
) -> Tensor:
    """Return what reaches the head for every image of a split as it is, on the CPU: float32, (images, features).

    Args:
        adapted: the network.
        plan: in whose first epoch only the head trains.
        split: the images.
        hardware: device, precision, and the way in which it answers.
        cache: keeps what the frozen layers answer, for the strategies that train nothing but the head.
        reporter: shows progress.
    """
    model = adapted.model.to(hardware.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.eval().requires_grad_(False)
    with folded(model), features_of_head(adapted) as seen:
        _, size, _, channels = split.store.shape
        trunk = frozen_trunk(adapted, names_that_train(plan, 0), size, channels, hardware)
        del seen[:]
        if trunk is None:
            answers_to(adapted, inference_batches(split), hardware)
        else:
            as_they_are = Views(split, Augmentation(AugmentParams(), upright=True), 0)
            cached = CachedFeatures(trunk, trunk, as_they_are, split, cache, reporter)
            for activations in cached.plain_batches(split):
                with torch.inference_mode(), hardware.autocast():
                    cached.network(activations)
        return torch.cat(seen).cpu().clone()
