"""Backbones from ONNX files, which any framework writes, as networks of torch that train.

onnx2torch makes a torch layer of every operator. What comes out is compared with what ONNX Runtime answers by the file
before it is used.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from tasks.backbones import downloads
from tasks.backbones.architecture import Architecture, State
from tasks.backbones.from_callable import USUAL_SIZES, describe
from tasks.backbones.onnx_conversion import check_answers, check_program, converted
from tasks.backbones.onnx_inputs import fixed_size
from tasks.backbones.onnx_reading import read, sha256
from tasks.backbones.weights_files import is_weights_file
from tasks.errors import UserError
from tasks.params import BackboneParams, PartsParams

SUFFIX = ".onnx"


def has(name: str) -> bool:
    """Return whether a name is that of an ONNX file."""
    return name.endswith(SUFFIX)


def find(name: str, parts: PartsParams | None = None) -> Architecture:
    """Return the description of the network in an ONNX file; its stem, stages and head are found out by tracing.

    Raises:
        UserError: the file can't be read or converted, or what it holds is no classifier of images.
    """
    digest = sha256(name)
    stated = fixed_size(read(name))
    sizes = (stated, *USUAL_SIZES) if stated else USUAL_SIZES
    return describe(name, _Maker(name, digest), parts, sizes, "that of the file given")


def state(name: str, size: int) -> State:
    """Return the weights of a file under the names of its network for a working size.

    Raises:
        UserError: the network answers otherwise than the file does, or can't be handed over as a program of torch.
    """
    network = converted(name, sha256(name), size)
    check_answers(name, read(name), network, size)
    check_program(name, network, size)
    return network.state_dict()


def with_own_weights(params: BackboneParams) -> BackboneParams:
    """Name a file as the place of its network's weights, unless there are others; verify it before it is read.

    Raises:
        UserError: the file has another digest than it must have, or weights are asked for that are not in a file.
    """
    file = Path(params.name).expanduser()
    if params.weights == "none" or (is_weights_file(params.weights) and params.weights != params.name):
        return params
    if "weights" in params.model_fields_set and params.weights != params.name:
        raise UserError(
            f"params.yaml: backbone.weights '{params.weights}': the weights of {params.name} are in that file itself: "
            "leave backbone.weights out, or say 'none' for random ones"
        )
    if file.is_file():
        downloads.verified(file, params.sha256 or "")
    return params.model_copy(update={"weights": params.name})


@dataclass(frozen=True)
class _Maker:
    """Makes the network of a file with weights drawn anew."""

    name: str
    digest: str

    def __call__(self, size: int) -> nn.Module:
        model = copy.deepcopy(converted(self.name, self.digest, size))
        for module in model.modules():
            draw = getattr(module, "reset_parameters", None)
            if draw is not None:
                draw()
        return model
