"""The sections ``backbone`` and ``backbones``: which pretrained networks, with which weights."""

import re
from typing import Annotated, Any

from pydantic import Field, PositiveFloat, field_validator

from tasks.params.section import Section
from tasks.params.values import Selectors


class PartsParams(Section):
    """What the layers of a network are for: names of modules and parameters, which stand for all below them.

    Example:
        backbone:
          name: my_package.nets:make
          weights: my/weights.safetensors
          parts:
            stem: conv1
            stages: [layer1, layer2, [layer3, layer4]]
            head: fc
    """

    stem: Selectors
    """What meets the image first."""

    stages: tuple[Selectors, ...] = Field(min_length=1)
    """The layers between, in order; a name or a list of names a stage."""

    head: str
    """The classifier's last layer."""


class BackboneParams(Section):
    """The pretrained network.

    Example:
        backbone:
          name: convnext_tiny
          weights: IMAGENET1K_V1
    """

    name: str = "mobilenet_v2"
    """A torchvision classification model, ``efficientnet_lite0`` to ``2``, ``timm/`` with one of timm's,
    ``package.module:callable`` for an architecture of your own, which is imported from the current folder, or an ONNX
    file with its weights."""

    weights: str = "IMAGENET1K_V1"
    """A torchvision weights name (``IMAGENET1K_V1`` of EfficientNet-Lite, too); of timm a pretrained tag, or
    ``pretrained`` for the one in the name; a file (``.pth``, ``.pt`` or ``.safetensors``); or ``none`` for random
    weights."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = None
    """The digest that the weights file must have, in 64 hexadecimal digits; checked before the file is read."""

    leave_out: Selectors | None = None
    """Regular expressions for the whole names of tensors that are not taken from the file but drawn new, such as those
    of layers that the file lacks or has in another shape."""

    parts: PartsParams | None = None
    """What the layers are for, instead of what is known or found out about the network."""

    mean: tuple[float, float, float] | None = None
    """Mean of each channel in the pretraining, for pixels in [0, 1], instead of the architecture's."""

    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None
    """Standard deviation of each channel in the pretraining, for pixels in [0, 1], instead of the architecture's."""

    lr: float | None = Field(None, gt=0, le=100)
    """Peak learning rate of the pretraining, instead of the architecture's; ``pretraining/10`` is a tenth of it."""

    @field_validator("leave_out")
    @classmethod
    def _are_patterns(cls, patterns: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for pattern in patterns or ():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"'{pattern}' is not a regular expression: {error}") from error
        return patterns


class NetworkParams(BackboneParams):
    """A further network, which competes with ``backbone``: every strategy is fine-tuned from it, too, if it is kept.

    Example:
        backbones:
          lite0:
            name: efficientnet_lite0
            optional: true
    """

    optional: bool = False
    """Whether the network is left out, with a line, where no source has its weights; otherwise that is an error."""

    strategies: dict[str, dict[str, Any]] = Field({})
    """What strategies do otherwise on this network, by the name of the strategy: keys as in ``strategies``."""
