"""What every network is described by, whichever library it comes from."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

State = dict[str, Tensor]  # a network's parameters and buffers by name


@dataclass(frozen=True)
class Part:
    """A named part of a network: the prefixes of the parameters, buffers and modules that belong to it."""

    name: str
    prefixes: tuple[str, ...]

    def owns(self, name: str) -> bool:
        """Return whether a parameter, buffer or module of that name is in this part."""
        return any(name == prefix or name.startswith(prefix + ".") for prefix in self.prefixes)


@dataclass(frozen=True)
class Recipe:
    """The optimizer and peak learning rate that weights were trained with."""

    optimizer: str
    lr: float
    batch_size: int


@dataclass(frozen=True)
class Architecture:
    """A network that can be built, and what its layers are for.

    Attributes:
        name: as in ``backbone.name``.
        head: the classifier's last layer, an ``nn.Linear`` or a 1x1 ``nn.Conv2d``, which is replaced.
        input_layer: the ``nn.Conv2d`` that meets the image.
        auxiliary: the last layers of auxiliary classifiers, which only a network in training mode has.
        auxiliary_weight: of their losses; 0 without any.
        mean, std: input statistics of the pretraining, for pixels in [0, 1].
        size: side in pixels that its pretrained weights were trained at.
        smallest: the least working size that it takes, in evaluation and in training.
        recipe: how its weights were trained, if that is known.
        licence: of its pretrained weights.
        build: makes the network with random weights for a working size; raises ``UserError`` for a size that it
            doesn't take.
        split: divides a network that ``build`` made into ``stem``, ``stage1`` … ``stageN``, ``aux`` where there are
            auxiliary classifiers, and ``head``, from the image to the logits. Every parameter, buffer and leaf module
            is in exactly one part; ``head`` is itself one of the head's prefixes, the others have no weights.
    """

    name: str
    head: str
    input_layer: str
    auxiliary: tuple[str, ...]
    auxiliary_weight: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    smallest: int
    recipe: Recipe | None
    licence: str
    build: Callable[[int], nn.Module]
    split: Callable[[nn.Module], list[Part]]


@dataclass(frozen=True)
class Layout:
    """What the layers of a network are for, as far as it is found out from a forward pass; see ``Architecture``."""

    input_layer: str
    head: str
    parts: tuple[Part, ...]
