"""Networks of torch from ONNX files, compared with what ONNX Runtime answers by the file before they are used."""

import copy
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from tasks.backbones import onnx_graphs
from tasks.backbones.onnx_inputs import IMAGE_CHANNELS, UnfitError, fixed_batch, fixed_size, has_channels_last
from tasks.backbones.onnx_layers import register_layers
from tasks.backbones.onnx_reading import file_of, read
from tasks.errors import UserError, reason_of

TOLERANCE = 1e-3  # of an answer, relative to the largest


@lru_cache(maxsize=2)
def converted(name: str, digest: str, size: int) -> nn.Module:
    """Return the network of a file for a working size, which nobody changes.

    Raises:
        UserError: it can't be converted.
    """
    model = read(name)
    try:
        prepared = onnx_graphs.prepare(copy.deepcopy(model), size)
        network: nn.Module = _convert(prepared)
    except UnfitError as error:
        raise UserError(f"params.yaml: backbone.name: {name} {error}") from error
    except Exception as error:  # onnx2torch names what it doesn't know in several ways
        raise UserError(
            f"params.yaml: backbone.name: {name} has what can't be converted to torch ({reason_of(error)})"
            f"{_remedy(model)}"
        ) from error
    return network


def _convert(prepared: Any) -> nn.Module:
    from onnx2torch import convert

    register_layers()
    network: fx.GraphModule = convert(prepared).eval()
    _drop_unused(network)
    return network


def _drop_unused(network: fx.GraphModule) -> None:
    """Remove the operators and constants that nothing asks for."""
    network.graph.eliminate_dead_code()
    network.delete_all_unused_submodules()
    network.recompile()


def check_answers(name: str, model: Any, network: nn.Module, size: int) -> None:
    """Raise if the network answers random images otherwise than ONNX Runtime does by the file.

    Raises:
        UserError: it does, or the file can't be run.
    """
    import onnxruntime

    side = fixed_size(model) or size
    remedy = _remedy(model)
    images = np.random.default_rng(0).random((2, IMAGE_CHANNELS, side, side), dtype=np.float32)
    given = images.transpose(0, 2, 3, 1) if has_channels_last(model) else images
    try:
        session = onnxruntime.InferenceSession(file_of(name), providers=["CPUExecutionProvider"])
        entry = session.get_inputs()[0].name
        count = fixed_batch(model) or len(given)
        batches = [np.repeat(given[:1], count, axis=0), np.repeat(given[1:], count, axis=0)]
        expected = np.stack([session.run(None, {entry: batch})[0][0] for batch in batches])
        made = network if side == size else _convert(onnx_graphs.prepare(copy.deepcopy(model), side))
        with torch.no_grad():
            answers = made(torch.from_numpy(images))
    except Exception as error:  # whatever the runtimes raise
        raise UserError(
            f"params.yaml: backbone.name: {name} takes no two images of {side} pixels ({reason_of(error)}){remedy}"
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
    return ": export it with a batch of any size" if fixed_batch(model) else ""


def check_program(name: str, network: nn.Module, size: int) -> None:
    """Raise if a network, whose trained copies are kept as programs of ``torch.export``, can't be one.

    Raises:
        UserError: it can't.
    """
    images = torch.zeros(2, IMAGE_CHANNELS, size, size)
    try:
        torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    except Exception as error:  # whatever the exporter raises
        raise UserError(
            f"params.yaml: backbone.name: {name} can't be handed over after training, as its shapes depend on its "
            f"values: {reason_of(error)}"
        ) from error
