"""The loss of a batch and its gradients, in micro-batches where the whole doesn't fit."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tasks.params import StrategyParams
from tasks.strategies.surgery import Adapted
from tasks.training.batches import Batch, Split, weights_of
from tasks.training.device import Hardware
from tasks.training.distributed import SINGLE_PROCESS, LocalMicroBatch, ProcessGroup


class Gradients:
    """Adds the gradients of a batch to the network's parameters.

    The micro-batches of a batch add up to the gradient of the whole, so that only the memory they take depends on
    their size; BatchNorm that updates its statistics sees one at a time. A micro-batch is divided over the processes
    that train together.
    """

    def __init__(
        self,
        adapted: Adapted,
        settings: StrategyParams,
        hardware: Hardware,
        train: Split,
        processes: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self._micro_batch, self._hardware, self._processes = settings.micro_batch, hardware, processes
        self._auxiliary_weight = adapted.auxiliary_weight
        self._loss = TrainingLoss(settings, train, adapted.classes, hardware.device)

    def __call__(self, network: nn.Module, inputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> float:
        """Run a batch forwards and backwards; return its loss.

        Args:
            network: answers logits of shape (batch, classes), or several such with those of auxiliary classifiers.
            inputs: what it is given, on the training device; of the rows that this process runs (``local_rows``).
            targets: classes as integers, shape (batch,).
            weights: of the images in the loss, shape (batch,); None: all count alike.
        """
        device, processes = self._hardware.device, self._processes
        batch = Batch(inputs, targets.to(device), None if weights is None else weights.to(device))
        total = self._loss.total_weight(batch.targets, batch.weights) or 1.0  # without any weight, every sum is 0
        value = 0.0
        shares = processes.local_micro_batches(len(targets), self._micro_batch)
        for share, micro_batch in zip(shares, _micro_batches(batch, shares), strict=True):
            with processes.running(share), _exchanging(network, now=share is shares[-1]):
                with self._hardware.autocast():
                    answer = network(micro_batch.inputs)
                loss = self._summed(answer, micro_batch) / total * share.counts
                (loss * processes.world_size).backward()  # type: ignore[no-untyped-call]  # the processes' mean is left
            value += loss.item()
        return processes.all_reduce_loss(value)

    def _summed(self, answer: Tensor | tuple[Tensor, ...], batch: Batch) -> Tensor:
        """Return the summed loss; auxiliary classifiers' losses count by their weight."""
        if isinstance(answer, Tensor):
            return self._loss(answer, batch.targets, batch.weights)
        logits, *auxiliary = answer
        losses = [self._loss(other, batch.targets, batch.weights) for other in auxiliary]
        return self._loss(logits, batch.targets, batch.weights) + self._auxiliary_weight * torch.stack(losses).sum()


class TrainingLoss:
    """Cross-entropy with what a strategy corrects in it.

    Of an image with logits z, class y and weight v in the split:

    - z' = z + ``logit_adjustment`` * log(prior), the prior being a class's share of the training split (Menon et al.,
      Long-tail learning via logit adjustment, ICLR 2021, equation 10);
    - the cross-entropy H is that of ``torch.nn.functional.cross_entropy`` for z', with ``label_smoothing`` and class
      weights w, so that (without smoothing) H = -w[y] log softmax(z')[y];
    - the image's loss is v * (1 - softmax(z')[y]) ** ``focal_gamma`` * H (Lin et al., Focal Loss for Dense Object
      Detection, ICCV 2017).

    A batch's loss is their sum divided by the sum of v * w[y]. Where classes are counted, an image counts by its
    weight in units of the mean weight, and a class below one counts as one: of a class without training images the
    prior is that of a class with a single one.
    """

    def __init__(self, settings: StrategyParams, train: Split, classes: int, device: torch.device) -> None:
        counts = _class_counts(train, classes)
        self._smoothing, self._gamma = settings.label_smoothing, settings.focal_gamma
        self._class_weights = (counts.sum() / (classes * counts)).to(device) if settings.class_weights else None
        self._shift = (settings.logit_adjustment * (counts / counts.sum()).log()).to(device)

    def __call__(self, logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the sum of the images' losses.

        Args:
            logits: shape (batch, classes).
            targets: classes as integers, shape (batch,).
            weights: of the images, shape (batch,); None: all count alike.
        """
        shifted = logits.float() + self._shift
        if weights is None and not self._gamma:
            return self._cross_entropy(shifted, targets, "sum")
        losses = self._cross_entropy(shifted, targets, "none")
        if self._gamma:
            losses = losses * _doubt(shifted, targets) ** self._gamma
        return (losses if weights is None else losses * weights).sum()

    def total_weight(self, targets: Tensor, weights: Tensor | None = None) -> float:
        """Return what the sum of a batch's losses is divided by, shapes as above."""
        if self._class_weights is None:
            return float(len(targets) if weights is None else weights.sum())
        of_classes = self._class_weights[targets]
        return float((of_classes if weights is None else of_classes * weights).sum())

    def _cross_entropy(self, logits: Tensor, targets: Tensor, reduction: str) -> Tensor:
        return F.cross_entropy(
            logits, targets, weight=self._class_weights, reduction=reduction, label_smoothing=self._smoothing
        )


def validation_loss(logits: Tensor, targets: Tensor, settings: StrategyParams) -> float:
    """Return the loss that chooses between epochs, and between weights.

    Args:
        logits: shape (images, classes).
        targets: classes as integers, shape (images,).
        settings: whether the mean is over the images, or over the classes that have any.
    """
    if not settings.treats_classes_alike:
        return F.cross_entropy(logits, targets).item()
    counts = torch.bincount(targets, minlength=logits.shape[1])
    weights = torch.where(counts > 0, 1 / counts.clamp(min=1), 0.0)
    return F.cross_entropy(logits, targets, weight=weights).item()


def _micro_batches(batch: Batch, shares: Sequence[LocalMicroBatch]) -> Iterator[Batch]:
    taken = 0
    for share in shares:
        inputs = batch.inputs[taken : taken + share.rows.stop - share.rows.start]
        yield Batch(inputs, batch.targets[share.rows], weights_of(batch.weights, share.rows))
        taken += len(inputs)


def _exchanging(network: nn.Module, *, now: bool) -> AbstractContextManager[None]:
    """Let the processes exchange gradients in a backward pass now, or behind a later one of the batch."""
    accumulates = isinstance(network, DistributedDataParallel) and not now
    return network.no_sync() if accumulates else nullcontext()  # type: ignore[operator]


def _doubt(logits: Tensor, targets: Tensor) -> Tensor:
    """Return 1 - the probability of the target; above 0, where powers below 1 would have an infinite slope."""
    log_probability = -F.cross_entropy(logits, targets, reduction="none")
    return -torch.expm1(log_probability).clamp(max=-torch.finfo(torch.float32).eps)


def _class_counts(split: Split, classes: int) -> Tensor:
    """Return the training images of each class by their weights, shape (classes,)."""
    if split.weights is None:
        return torch.bincount(split.targets, minlength=classes).float().clamp(min=1)
    relative = split.weights / split.weights.mean().clamp(min=torch.finfo(torch.float32).tiny)
    return torch.bincount(split.targets, weights=relative, minlength=classes).float().clamp(min=1)
