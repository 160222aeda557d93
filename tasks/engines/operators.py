"""oneDNN's convolution and linear layer, each with its normalisation, its residual sum and its activation in one pass.

They are the operators that torch's compiler lowers these layers to where weights are frozen
(``torch/_inductor/fx_passes/mkldnn_fusion.py``), called without a compiler.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Kernel = tuple[Tensor, Tensor | None]  # weight and bias


@dataclass(frozen=True)
class Activation:
    """An activation as oneDNN names it.

    Attributes:
        name: of the operator.
        scalars: its parameters.
        algorithm: which of several.
    """

    name: str = "none"
    scalars: tuple[float, ...] = ()
    algorithm: str = ""


NO_ACTIVATION = Activation()


class FusedConvolution(nn.Module):
    """A convolution, then a sum with something else where it is given, then an activation.

    Weights are brought into the kernel's order for the shape of the images, and again when the shape changes.
    """

    def __init__(
        self, layer: nn.Conv2d, kernel: Callable[[], Kernel], activation: Activation, dtype: torch.dtype
    ) -> None:
        """Take a layer's geometry; ``kernel`` returns the weights that it convolves with."""
        super().__init__()
        self._geometry = [*map(list, (layer.padding, layer.stride, layer.dilation)), layer.groups]
        self._kernel, self._activation, self._dtype = kernel, activation, dtype
        self._shape: torch.Size | None = None
        self._ordered: Kernel

    def forward(self, images: Tensor, other: Tensor | None = None) -> Tensor:
        """Answer images of shape (batch, channels, height, width); ``other`` has the answer's shape."""
        images = images.to(self._dtype)
        if images.shape != self._shape:
            weight, bias = self._kernel()
            reorder = torch.ops.mkldnn._reorder_convolution_weight
            ordered = reorder(weight.to(self._dtype), *self._geometry, list(images.shape))
            self._ordered = ordered, None if bias is None else bias.to(self._dtype)
            self._shape = images.shape
        name, scalars, algorithm = self._activation.name, list(self._activation.scalars), self._activation.algorithm
        operator = torch.ops.mkldnn._convolution_pointwise
        answer: Tensor
        if other is None:
            answer = operator(images, *self._ordered, *self._geometry, name, scalars, algorithm)
        else:
            then = (None, [], "") if self._activation == NO_ACTIVATION else (name, scalars, algorithm)
            answer = operator.binary(images, other.to(self._dtype), *self._ordered, *self._geometry, "add", 1.0, *then)
        return answer


class FusedLinear(nn.Module):
    """A linear layer and an activation."""

    def __init__(self, layer: nn.Linear, activation: Activation, dtype: torch.dtype) -> None:
        super().__init__()
        self._layer, self._activation, self._dtype = (layer,), activation, dtype  # in a tuple: no submodule
        self._rows = 0
        self._ordered: Kernel

    def forward(self, inputs: Tensor) -> Tensor:
        """Answer inputs of shape (..., features)."""
        rows = inputs[..., 0].numel()
        if rows != self._rows:
            layer = self._layer[0]
            weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().to(self._dtype), rows)
            self._ordered = weight, None if layer.bias is None else layer.bias.detach().to(self._dtype)
            self._rows = rows
        activation = self._activation
        answer: Tensor = torch.ops.mkldnn._linear_pointwise(
            inputs.to(self._dtype), *self._ordered, activation.name, list(activation.scalars), activation.algorithm
        )
        return answer


def activation_of_module(module: nn.Module) -> Activation | None:
    """Return an activation layer as oneDNN knows it; None: it is none, or oneDNN doesn't know it."""
    match module:
        case nn.ReLU6():
            return Activation("hardtanh", (0.0, 6.0))
        case nn.Hardtanh():
            return Activation("hardtanh", (float(module.min_val), float(module.max_val)))
        case nn.GELU():
            return Activation("gelu", algorithm=module.approximate)
        case nn.LeakyReLU():
            return Activation("leaky_relu", (module.negative_slope,))
    names = {nn.ReLU: "relu", nn.SiLU: "swish", nn.Sigmoid: "sigmoid", nn.Tanh: "tanh"}
    names |= {nn.Hardswish: "hardswish", nn.Hardsigmoid: "hardsigmoid"}
    name = names.get(type(module))
    return Activation(name) if name else None


def activation_of_function(target: object) -> Activation | None:
    """Return a function of torch, or the name of a tensor's method, that is called with nothing but the input."""
    name = target if isinstance(target, str) else getattr(target, "__name__", "")
    known = {"relu": "relu", "sigmoid": "sigmoid", "silu": "swish", "hardswish": "hardswish", "tanh": "tanh"}
    if name == "relu6":
        return Activation("hardtanh", (0.0, 6.0))
    if name == "gelu":
        return Activation("gelu", algorithm="none")
    found = known.get(str(name).removesuffix("_"))
    return Activation(found) if found else None
