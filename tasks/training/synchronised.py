"""Layers that look beyond a single image, so that a batch divided over processes passes them as one.

BatchNorm that trains takes mean and variance over the images of all processes (Ioffe and Szegedy, ICML 2015, for the
gradient; torch.nn.SyncBatchNorm needs GPUs). Dropout, and layers that drop whole images or channels, draw for the whole
batch, of which each process takes its rows.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tasks.strategies.freezing import NORMS_WITH_STATISTICS
from tasks.training.distributed import ProcessGroup
from tasks.training.patching import replaced_forwards

Forward = Callable[[Tensor], Tensor]
DROPS_VALUES = (nn.Dropout,)
DROPS_CHANNELS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
DROPS_IMAGES = frozenset({"StochasticDepth", "DropPath"})  # of torchvision and timm


@contextmanager
def synchronised(model: nn.Module, processes: ProcessGroup) -> Iterator[None]:
    """Let, for as long as the block runs, the layers that train see the batch of all processes."""
    if processes.world_size == 1:
        yield
        return
    forwards: dict[nn.Module, Forward] = {}
    for module in model.modules():
        if isinstance(module, NORMS_WITH_STATISTICS):
            forwards[module] = _normalising(module, module.forward, processes)
        elif isinstance(module, (*DROPS_VALUES, *DROPS_CHANNELS)) or type(module).__name__ in DROPS_IMAGES:
            forwards[module] = _dropping(module, module.forward, processes)
    with replaced_forwards(forwards):
        yield


def _normalising(norm: nn.modules.batchnorm._BatchNorm, plain: Forward, processes: ProcessGroup) -> Forward:
    has_own_forward = type(norm).forward is not nn.BatchNorm2d.forward

    def normalise(values: Tensor) -> Tensor:
        if not norm.training or processes.in_network is None:
            return plain(values)
        affine = (None, None) if has_own_forward else (norm.weight, norm.bias)
        answer, mean, variance, count = _Normalisation.apply(values, *affine, norm.eps, processes)
        _track(norm, mean, variance, count)
        return _after_normalisation(norm, plain, answer) if has_own_forward else answer

    return normalise


def _after_normalisation(norm: nn.modules.batchnorm._BatchNorm, plain: Forward, values: Tensor) -> Tensor:
    """Return what a layer's own forward pass makes of values that are normalised, such as scale them and activate."""
    kept = norm.running_mean, norm.running_var
    norm.running_mean = torch.zeros(values.shape[1], device=values.device, dtype=_wide(values[:0]).dtype)
    norm.running_var = torch.full_like(norm.running_mean, 1 - norm.eps)
    norm.training = False
    try:
        return plain(values)
    finally:
        norm.training = True
        norm.running_mean, norm.running_var = kept


@torch.no_grad()
def _track(norm: nn.modules.batchnorm._BatchNorm, mean: Tensor, variance: Tensor, count: Tensor) -> None:
    """Update the running statistics as BatchNorm does, by the unbiased variance."""
    if norm.running_mean is None or norm.running_var is None:
        return
    share = norm.momentum
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    unbiased = variance * count / (count - 1).clamp(min=1)
    for running, seen in ((norm.running_mean, mean), (norm.running_var, unbiased)):
        running.mul_(1 - (share or 0.0)).add_(seen.to(running.dtype), alpha=share or 0.0)


class _Normalisation(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias, with mean and variance over all processes' images."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, processes: ProcessGroup
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        others = [0, *range(2, values.dim())]
        local_count = values.numel() // values.shape[1] if processes.in_network and processes.in_network.counts else 0
        wide = _wide(values)
        variance, mean = (moment.double() for moment in torch.var_mean(wide, others, correction=0))
        sums = torch.cat(
            [local_count * mean, local_count * (variance + mean.square()), mean.new_full((1,), local_count)]
        )
        channels, count = values.shape[1], processes.all_reduce(sums)[-1]
        mean = sums[:channels] / count
        variance = (sums[channels:-1] / count - mean.square()).clamp(min=0)
        scale = (variance + eps).rsqrt()
        ctx.save_for_backward(values, weight, *(moment.to(wide.dtype) for moment in (mean, scale, count)))
        ctx.processes, ctx.counts = processes, local_count > 0
        answer = F.batch_norm(values, mean.to(wide.dtype), variance.to(wide.dtype), weight, bias, eps=eps)
        ctx.mark_non_differentiable(mean, variance, count)
        return answer, mean, variance, count

    @staticmethod
    def backward(ctx: Any, slope: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, mean, scale, count = ctx.saved_tensors
        shape, others = [1, -1, *[1] * (values.dim() - 2)], [0, *range(2, values.dim())]
        slope = _wide(slope)
        normalised = (_wide(values) - mean.view(shape)) * scale.view(shape)
        of_bias, of_weight = slope.sum(others), (slope * normalised).sum(others)
        of_values = None
        if ctx.needs_input_grad[0]:
            sums = ctx.processes.all_reduce(torch.stack([of_bias, of_weight])) / count
            if ctx.counts:
                slope = slope - sums[0].view(shape) - normalised * sums[1].view(shape)
            factor = scale if weight is None else scale * weight
            of_values = (slope * factor.view(shape)).to(values.dtype)
        _, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        return of_values, of_weight if needs_weight else None, of_bias if needs_bias else None, None, None


def _wide(values: Tensor) -> Tensor:
    """Return values in float32 at least."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _dropping(module: nn.Module, plain: Forward, processes: ProcessGroup) -> Forward:
    """Return a forward pass that multiplies by the factors that are drawn for the whole piece of a batch."""

    def drop(values: Tensor) -> Tensor:
        if not module.training or processes.in_network is None:
            return plain(values)
        rows, global_rows = processes.in_network.rows, processes.in_network.global_rows
        each = len(values) // (rows.stop - rows.start)  # windows of an image, where they lie side by side
        first, count = (rows.start - global_rows.start) * each, (global_rows.stop - global_rows.start) * each
        return values * plain(_ones(module, values, count))[first : first + len(values)]

    return drop


def _ones(module: nn.Module, values: Tensor, count: int) -> Tensor:
    """Return ones for ``count`` images, as large as what is drawn."""
    if isinstance(module, DROPS_VALUES):
        ones = values.new_ones((count, *values.shape[1:]))
        is_last = values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last)
        return ones.contiguous(memory_format=torch.channels_last) if is_last else ones
    kept = 2 if isinstance(module, DROPS_CHANNELS) else 1
    return values.new_ones((count, *values.shape[1:kept], *[1] * (values.dim() - kept)))
