"""The loss of a batch and its gradients, in pieces where the whole batch doesn't fit."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tasks.params import StrategyParams
from tasks.strategies.surgery import Adapted
from tasks.training.batches import Split
from tasks.training.device import Hardware


class Gradients:
    """Adds the gradients of a batch to the network's parameters.

    The pieces of a batch (``micro_batch``) add up to the gradient of the whole, so that only the memory they take
    depends on their size; BatchNorm that updates its statistics sees a piece at a time.
    """

    def __init__(self, adapted: Adapted, settings: StrategyParams, hardware: Hardware, train: Split) -> None:
        self._settings, self._hardware = settings, hardware
        self._auxiliary_weight = adapted.auxiliary_weight
        self._class_weights = _class_weights(train).to(hardware.device) if settings.class_weights else None

    def __call__(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> float:
        """Run a batch forwards and backwards; return its mean cross-entropy."""
        weights = self._class_weights
        total = float(len(targets) if weights is None else weights[targets].sum())
        value = 0.0
        size = self._settings.micro_batch or len(targets)
        for images, labels in zip(torch.split(inputs, size), torch.split(targets, size), strict=True):
            with self._hardware.autocast():
                answer = network(images)
            loss = self._loss(answer, labels) / total
            loss.backward()  # type: ignore[no-untyped-call]
            value += loss.item()
        return value

    def _loss(self, answer: Tensor | tuple[Tensor, ...], targets: Tensor) -> Tensor:
        """Return the summed cross-entropy; auxiliary classifiers' losses count by their weight."""
        if isinstance(answer, Tensor):
            return self._cross_entropy(answer, targets)
        logits, *auxiliary = answer
        losses = [self._cross_entropy(other, targets) for other in auxiliary]
        return self._cross_entropy(logits, targets) + self._auxiliary_weight * torch.stack(losses).sum()

    def _cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        smoothing = self._settings.label_smoothing
        return F.cross_entropy(
            logits.float(), targets, weight=self._class_weights, reduction="sum", label_smoothing=smoothing
        )


def _class_weights(split: Split) -> Tensor:
    counts = torch.bincount(split.targets).float().clamp(min=1)
    return counts.sum() / (len(counts) * counts)
