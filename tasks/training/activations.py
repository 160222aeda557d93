"""The features of a frozen network, computed once and shared by all epochs in which only the head trains."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tasks.params import Sampling
from tasks.strategies.freezing import FreezePlan
from tasks.strategies.surgery import Adapted
from tasks.training.batches import Batch, Split, epoch_order, inference_batches, weights_of
from tasks.training.device import Hardware


def only_head_trains(plan: FreezePlan, epoch: int, adapted: Adapted) -> bool:
    """Return whether everything but the head is frozen in an epoch."""
    rates = plan.rates(epoch)
    names = [name for g in plan.groups if g.name in rates for name in (*g.parameters, *g.buffers)]
    return all(name.startswith(f"{adapted.head}.") for name in names)


def answers_logits(adapted: Adapted) -> bool:
    """Return whether the head's answers are the network's; a convolution's, as in SqueezeNet, are pooled after it."""
    head = adapted.model.get_submodule(adapted.head)
    return not any(isinstance(module, nn.Conv2d) for module in head.modules())


@dataclass(frozen=True)
class Activations:
    """What the head is given for every training and validation image, in float32 on the training device.

    Training images are taken without augmentation: one view each. ``targets`` and ``weights`` are theirs.
    """

    train: Tensor
    targets: Tensor
    val: Tensor
    weights: Tensor | None = None

    @classmethod
    def compute(cls, adapted: Adapted, train: Split, val: Split, hardware: Hardware) -> "Activations":
        """Run the frozen network once over both splits."""
        return cls(features(adapted, train, hardware), train.targets, features(adapted, val, hardware), train.weights)

    def training_batches(
        self, batch_size: int, seed: int, epoch: int, start: int = 0, sampling: Sampling = "natural"
    ) -> Iterator[Batch]:
        """Yield the batches of one epoch, of features, in a drawn order from step ``start`` on."""
        for chosen in epoch_order(self.targets, self.weights, batch_size, seed, epoch, sampling)[start:]:
            yield Batch(self.train[chosen], self.targets[chosen], weights_of(self.weights, chosen))

    def validation_logits(self, head: nn.Module) -> Tensor:
        """Return the logits of the validation split in float32."""
        head.eval()
        with torch.inference_mode():
            logits: Tensor = head(self.val)
        return logits.float().flatten(1).cpu()


def features(adapted: Adapted, split: Split, hardware: Hardware) -> Tensor:
    """Return what reaches the head's first layer for every image of a split, in evaluation mode."""
    model = adapted.model.to(hardware.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    seen: list[Tensor] = []

    def catch(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].float())

    handle = model.get_submodule(adapted.head).register_forward_pre_hook(catch)
    try:
        for images in inference_batches(split):
            with torch.inference_mode(), hardware.autocast():
                model(adapted.normalisation(images.to(hardware.device)))
    finally:
        handle.remove()
    return torch.cat(seen).clone()
