"""Strided depthwise convolutions in bfloat16 whose gradient by their input takes a kernel that is fast.

On a processor the library has no fast kernel for that gradient: on 2 cores with AVX-512 BF16 it took 60 ms for 16
images of 96 x 112 x 112, ten times as long as the same gradient as a convolution without a stride of the slope with
zeros between its values (``python -m tests.benchmarks.ours depthwise``; the identity is in Dumoulin and Visin, A Guide
to Convolution Arithmetic for Deep Learning, 2016, relationship 13).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tasks.training.device import Hardware

Pair = tuple[int, int]
Convolve = Callable[[Tensor, Tensor, Tensor | None], Tensor]


@contextmanager
def faster_gradients(model: nn.Module, hardware: Hardware) -> Iterator[None]:
    """Compute, for as long as the block runs, that gradient by the faster way, in bfloat16 on a processor."""
    with ExitStack() as after:
        if hardware.bfloat16 and hardware.device.type == "cpu":
            for module in model.modules():
                if _is_slow(module):
                    after.callback(delattr, module, "_conv_forward")
                    _install(module)
        yield


def _is_slow(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return (
        isinstance(module, nn.Conv2d)
        and module.groups == module.in_channels == module.out_channels > 1
        and max(module.stride) > 1
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and all(p <= d * (k - 1) for p, d, k in zip(module.padding, module.dilation, module.kernel_size, strict=True))
    )


def _install(module: nn.Conv2d) -> None:
    plain: Convolve = module._conv_forward

    def convolve(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not (torch.is_grad_enabled() and images.requires_grad and torch.is_autocast_enabled("cpu")):
            return plain(images, weight, bias)
        low = [None if tensor is None else tensor.to(torch.bfloat16) for tensor in (images, weight, bias)]
        answer: Tensor = _Convolution.apply(*low, module.stride, module.padding, module.dilation, module.groups)
        return answer

    module._conv_forward = convolve  # type: ignore[assignment]


def by_input(
    slope: Tensor,
    weight: Tensor,
    shape: Sequence[int],
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Tensor:
    """Return the gradient of a depthwise convolution by its input.

    Args:
        slope: gradient by its answer, shape (batch, channels, height, width).
        weight: its kernels.
        shape: of its input; padding is at most ``dilation * (kernel - 1)``.
        stride, padding, dilation, groups: of the convolution.
    """
    reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    sides = [side - r + 2 * p for side, r, p in zip(shape[2:], reach, padding, strict=True)]
    spread = torch.empty(
        (*slope.shape[:2], *sides), dtype=slope.dtype, device=slope.device, memory_format=torch.channels_last
    ).zero_()
    height, width = ((n - 1) * s + 1 for n, s in zip(slope.shape[2:], stride, strict=True))
    spread[:, :, : height : stride[0], : width : stride[1]] = slope
    margin = [r - p for r, p in zip(reach, padding, strict=True)]
    return F.conv2d(spread, weight.flip(2, 3), None, 1, margin, dilation, groups)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, *how: Any) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.how, ctx.bias_sizes = how, None if bias is None else list(bias.shape)
        return F.conv2d(images, weight, bias, *how)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.how
        of_weight = of_bias = None
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            _, of_weight, of_bias = torch.ops.aten.convolution_backward(
                slope, images, weight, ctx.bias_sizes, stride, padding, dilation, False, [0, 0], groups,
                [False, ctx.needs_input_grad[1], ctx.needs_input_grad[2]],
            )  # fmt: skip
        return by_input(slope, weight, images.shape, *ctx.how), of_weight, of_bias, None, None, None, None
