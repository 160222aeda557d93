"""Layers of torch for operators of ONNX graphs: those that train, and those that onnx2torch has in another form."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from tasks.backbones.onnx_graphs import DOMAIN


class Linear(nn.Linear):
    """A linear layer by its tensors."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight.shape[1], weight.shape[0], bias is not None)
        with torch.no_grad():
            self.weight.copy_(weight)
            if bias is not None:
                self.bias.copy_(bias)


class _Bias(nn.Module):
    """Has a value that trains and starts at zero."""

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.bias = nn.Parameter(bias.clone())

    def reset_parameters(self) -> None:
        """Start at zero."""
        nn.init.zeros_(self.bias)


class Shift(_Bias):
    """Adds a value that trains."""

    def forward(self, values: Tensor) -> Tensor:
        """Return the sum."""
        return values + self.bias


class Scale(nn.Module):
    """Multiplies by a value that trains."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone())

    def forward(self, values: Tensor) -> Tensor:
        """Return the product."""
        return values * self.weight

    def reset_parameters(self) -> None:
        """Start at one."""
        nn.init.ones_(self.weight)


class Repeat(_Bias):
    """Gives each image the same values, which train, such as a transformer's class token."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the values, once for each image."""
        return self.bias.expand(images.shape[0], *self.bias.shape[1:])


class Slice(nn.Module):
    """Cuts a piece out."""

    def __init__(self, starts: list[int], ends: list[int], axes: list[int], steps: list[int]) -> None:
        super().__init__()
        self.cuts = list(zip(axes, map(slice, starts, ends, steps), strict=True))

    def forward(self, values: Tensor) -> Tensor:
        """Return the piece."""
        places = [slice(None)] * values.ndim
        for axis, cut in self.cuts:
            places[axis] = cut
        return values[tuple(places)]


class Split(nn.Module):
    """Cuts into pieces of given sizes."""

    def __init__(self, sizes: list[int], axis: int) -> None:
        super().__init__()
        self.sizes, self.axis = sizes, axis

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return the pieces."""
        return torch.split(values, self.sizes, self.axis)


class Reshape(nn.Module):
    """Gives another shape."""

    def __init__(self, shape: list[int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, values: Tensor) -> Tensor:
        """Return the same values in the other shape."""
        return values.reshape(self.shape)


@cache
def register_layers() -> None:
    """Let onnx2torch make these layers of the operators of our own domain."""
    from onnx2torch.node_converters.registry import add_converter

    for operator, converter in _LAYERS.items():
        add_converter(operator, 1, DOMAIN)(converter)


def _layer(make: Callable[..., nn.Module]) -> Callable[[Any, Any], Any]:
    """Return a converter of an operator whose inputs but the first are constants."""

    def converter(node: Any, graph: Any) -> Any:
        from onnx2torch.utils.common import OnnxMapping, OperationConverterResult

        tensors = [graph.initializers[name].to_torch() for name in node.input_values[1:]]
        module = make(*tensors, **node.attributes)
        return OperationConverterResult(module, OnnxMapping(inputs=node.input_values[:1], outputs=node.output_values))

    return converter


_LAYERS = {
    "Linear": _layer(lambda weight, bias=None: Linear(weight.T, bias)),
    "Shift": _layer(Shift),
    "Scale": _layer(Scale),
    "Repeat": _layer(Repeat),
    "Reshape": _layer(Reshape),
    "Slice": _layer(Slice),
    "Split": _layer(Split),
    "Gelu": _layer(nn.GELU),
}
