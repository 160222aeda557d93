"""Backbones from ONNX files, which any framework writes, as networks of torch that train.

onnx2torch makes a torch layer of every operator. What comes out is compared with what ONNX Runtime answers by the file
before it is used.
"""

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from tasks.backbones import onnx_graphs, own
from tasks.backbones.architecture import Architecture
from tasks.backbones.fitting import State
from tasks.backbones.onnx_graphs import DOMAIN, UnfitError
from tasks.errors import UserError
from tasks.files import digest_of, sha256_of
from tasks.params import PartsParams

SUFFIX = ".onnx"
PACKAGES = ("onnx", "onnx2torch", "onnxruntime", "onnxscript")
TOLERANCE = 1e-3  # of an answer, relative to the largest


@dataclass(frozen=True)
class _Maker:
    """Makes the network of a file with weights drawn anew."""

    name: str
    digest: str

    def __call__(self, size: int) -> nn.Module:
        model = copy.deepcopy(_converted(self.name, self.digest, size))
        for module in model.modules():
            draw = getattr(module, "reset_parameters", None)
            if draw is not None:
                draw()
        return model


class Linear(nn.Linear):
    """A linear layer by its tensors."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight.shape[1], weight.shape[0], bias is not None)
        with torch.no_grad():
            self.weight.copy_(weight)
            if bias is not None:
                self.bias.copy_(bias)


class Shift(nn.Module):
    """Adds a value that trains."""

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.bias = nn.Parameter(bias.clone())

    def forward(self, values: Tensor) -> Tensor:
        """Return the sum."""
        return values + self.bias

    def reset_parameters(self) -> None:
        """Start at zero."""
        nn.init.zeros_(self.bias)


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


class Repeat(nn.Module):
    """Gives each image the same values, which train, such as a transformer's class token."""

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.bias = nn.Parameter(bias.clone())

    def forward(self, images: Tensor) -> Tensor:
        """Return the values, once for each image."""
        return self.bias.expand(images.shape[0], *self.bias.shape[1:])

    def reset_parameters(self) -> None:
        """Start at zero."""
        nn.init.zeros_(self.bias)


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


def find(name: str, parts: PartsParams | None = None) -> Architecture:
    """Return the description of the network in an ONNX file; its stem, stages and head are found out by tracing.

    Raises:
        UserError: the file can't be read or converted, or what it holds is no classifier of images.
    """
    digest = sha256(name)
    stated = onnx_graphs.fixed_size(_read(name))
    sizes = (stated, *own.USUAL_SIZES) if stated else own.USUAL_SIZES
    return own.describe(name, _Maker(name, digest), parts, sizes, "that of the file given")


def sha256(name: str) -> str:
    """Return the digest of a file, and of the files beside it that it keeps weights in.

    Raises:
        UserError: the file can't be read.
    """
    try:
        found = [sha256_of(file) for file in files(name)]
    except OSError as error:
        raise _unreadable(name, error) from error
    return digest_of(found) if len(found) > 1 else found[0]


def files(name: str) -> list[Path]:
    """Return a file, and the files beside it that it keeps weights in.

    Raises:
        UserError: the file can't be read.
    """
    file, model = _file(name), _read(name, external=False)
    beside = sorted({entry.value for tensor in model.graph.initializer for entry in tensor.external_data
                     if entry.key == "location"})  # fmt: skip
    return [file, *(file.parent / other for other in beside)]


def state(name: str, size: int) -> State:
    """Return the weights of a file under the names of its network for a working size.

    Raises:
        UserError: the network answers otherwise than the file does, or can't be handed over as a program of torch.
    """
    network = _converted(name, sha256(name), size)
    _check_answers(name, _read(name), network, size)
    _check_program(name, network, size)
    return network.state_dict()


def _file(name: str) -> Path:
    file = Path(name).expanduser()
    if not file.is_file():
        raise UserError(f"params.yaml: backbone.name: the file {name} does not exist")
    return file


def _read(name: str, *, external: bool = True) -> Any:
    onnx = _libraries()
    try:
        model = onnx.load(_file(name), load_external_data=external)
        if external:
            onnx.checker.check_model(model)
            onnx_graphs.fixed_size(model)
    except UnfitError as error:
        raise UserError(f"params.yaml: backbone.name: {name} {error}") from error
    except UserError:
        raise
    except Exception as error:  # whatever a damaged file makes the library raise
        raise _unreadable(name, error) from error
    return model


def _unreadable(name: str, error: Exception) -> UserError:
    return UserError(f"params.yaml: backbone.name: {name} can't be read as ONNX: {_line(error)}")


@lru_cache(maxsize=2)
def _converted(name: str, digest: str, size: int) -> nn.Module:
    """Return the network of a file for a working size, which nobody changes.

    Raises:
        UserError: it can't be converted.
    """
    model = _read(name)
    try:
        prepared = onnx_graphs.prepare(copy.deepcopy(model), size)
        network: nn.Module = _convert(prepared)
    except UnfitError as error:
        raise UserError(f"params.yaml: backbone.name: {name} {error}") from error
    except Exception as error:  # onnx2torch names what it doesn't know in several ways
        raise UserError(
            f"params.yaml: backbone.name: {name} has what can't be converted to torch ({_line(error)}){_remedy(model)}"
        ) from error
    return network


def _convert(prepared: Any) -> nn.Module:
    from onnx2torch import convert

    _register_layers()
    network: fx.GraphModule = convert(prepared).eval()
    _drop_unused(network)
    return network


@cache
def _register_layers() -> None:
    from onnx2torch.node_converters.registry import add_converter

    for operator, converter in _LAYERS.items():
        add_converter(operator, 1, DOMAIN)(converter)


def _drop_unused(network: fx.GraphModule) -> None:
    """Remove the operators and constants that nothing asks for."""
    network.graph.eliminate_dead_code()
    network.delete_all_unused_submodules()
    network.recompile()


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


def _check_answers(name: str, model: Any, network: nn.Module, size: int) -> None:
    """Raise if the network answers random images otherwise than ONNX Runtime does by the file.

    Raises:
        UserError: it does, or the file can't be run.
    """
    import onnxruntime

    side = onnx_graphs.fixed_size(model) or size
    remedy = _remedy(model)
    images = np.random.default_rng(0).random((2, onnx_graphs.IMAGE_CHANNELS, side, side), dtype=np.float32)
    given = images.transpose(0, 2, 3, 1) if onnx_graphs.has_channels_last(model) else images
    try:
        session = onnxruntime.InferenceSession(_file(name), providers=["CPUExecutionProvider"])
        entry = session.get_inputs()[0].name
        count = onnx_graphs.fixed_batch(model) or len(given)
        batches = [np.repeat(given[:1], count, axis=0), np.repeat(given[1:], count, axis=0)]
        expected = np.stack([session.run(None, {entry: batch})[0][0] for batch in batches])
        made = network if side == size else _convert(onnx_graphs.prepare(copy.deepcopy(model), side))
        with torch.no_grad():
            answers = made(torch.from_numpy(images))
    except Exception as error:  # whatever the runtimes raise
        raise UserError(
            f"params.yaml: backbone.name: {name} takes no two images of {side} pixels ({_line(error)}){remedy}"
        ) from error
    candidates = [answers, answers.softmax(-1), answers.log_softmax(-1)] if isinstance(answers, Tensor) else []
    scale = max(float(np.abs(expected).max()), 1e-6)
    fits = [
        answer.shape == expected.shape and float(np.abs(answer.numpy() - expected).max()) <= TOLERANCE * scale
        for answer in candidates
    ]
    if not any(fits):
        raise UserError(
            f"params.yaml: backbone.name: {name} answers otherwise as a network of torch than by itself{remedy}"
        )


def _remedy(model: Any) -> str:
    return ": export it with a batch of any size" if onnx_graphs.fixed_batch(model) else ""


def _check_program(name: str, network: nn.Module, size: int) -> None:
    """Raise if a network, whose trained copies are kept as programs of ``torch.export``, can't be one.

    Raises:
        UserError: it can't.
    """
    images = torch.zeros(2, onnx_graphs.IMAGE_CHANNELS, size, size)
    try:
        torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    except Exception as error:  # whatever the exporter raises
        raise UserError(
            f"params.yaml: backbone.name: {name} can't be handed over after training, as its shapes depend on its "
            f"values: {_line(error)}"
        ) from error


def _libraries() -> Any:
    try:
        import onnx
        import onnx2torch  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"params.yaml: backbone.name asks for an ONNX file, which needs {', '.join(PACKAGES)}: "
            "pip install -e '.[onnx]'"
        ) from error
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    return onnx


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
