"""Strided depthwise convolutions whose gradient by their input is computed in float32.

In bfloat16 the processor's library has no fast kernel for that one gradient: on 2 cores with AVX-512 BF16 it took 59 ms
for 16 images of 96 x 112 x 112 where float32 takes 5 (``python -m tests.benchmarks.ours depthwise``). All else stays in
bfloat16.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from tasks.training.device import Hardware

Convolve = Callable[[Tensor, Tensor, Tensor | None], Tensor]


@contextmanager
def faster_gradients(model: nn.Module, hardware: Hardware) -> Iterator[None]:
    """Compute, for as long as the block runs, that gradient in float32 where the rest is in bfloat16 on a processor."""
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
        and module.groups == module.in_channels > 1
        and max(module.stride) > 1
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def _install(module: nn.Conv2d) -> None:
    plain: Convolve = module._conv_forward

    def convolve(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not (torch.is_grad_enabled() and images.requires_grad and torch.is_autocast_enabled("cpu")):
            return plain(images, weight, bias)
        low = [None if tensor is None else tensor.to(torch.bfloat16) for tensor in (images, weight, bias)]
        found: Tensor = _Convolution.apply(*low, module.stride, module.padding, module.dilation, module.groups)
        return found

    module._conv_forward = convolve  # type: ignore[assignment]


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, *how: Any) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.how, ctx.bias_sizes = how, None if bias is None else list(bias.shape)
        return F.conv2d(images, weight, bias, *how)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        of_images: Tensor = conv2d_input(images.shape, weight.float(), slope.float(), *ctx.how)  # type: ignore[no-untyped-call]
        stride, padding, dilation, groups = ctx.how
        of_weight = of_bias = None
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            _, of_weight, of_bias = torch.ops.aten.convolution_backward(
                slope, images, weight, ctx.bias_sizes, stride, padding, dilation, False, [0, 0], groups,
                [False, ctx.needs_input_grad[1], ctx.needs_input_grad[2]],
            )  # fmt: skip
        return of_images.to(images.dtype), of_weight, of_bias, None, None, None, None
