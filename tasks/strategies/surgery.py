"""Changes to a pretrained network: another head, another number of input channels, other stages."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tasks.backbones import weights
from tasks.backbones.architecture import Architecture, Part
from tasks.params import StrategyParams
from tasks.strategies import stages
from tasks.strategies.heads import replace_auxiliary, replace_head
from tasks.strategies.selectors import AUXILIARY, HEAD
from tasks.strategies.stems import Normalisation, replace_stem


@dataclass(frozen=True)
class Adapted:
    """A network made for the data at hand.

    Attributes:
        model: takes normalised images of ``channels`` channels, answers logits of shape (batch, classes).
        parts: stem, stages, auxiliary classifiers where there are any, and head, from the image to the logits.
        head: the name of the module whose input are the features of the frozen network, when only the head trains.
        normalisation: input statistics of the adapted stem.
        classes: number of the logits.
        new: names of the parts besides the head that have new weights and train in every phase.
        auxiliary_weight: of the auxiliary classifiers' losses; 0 without any.
        architecture: the name of the network that it was made of.
    """

    model: nn.Module
    parts: tuple[Part, ...]
    head: str
    normalisation: Normalisation
    classes: int
    new: tuple[str, ...] = ()
    auxiliary_weight: float = 0.0
    architecture: str = ""

    @property
    def with_new_weights(self) -> frozenset[str]:
        """Names of all parts that have new weights: those of ``new``, auxiliary classifiers, and the head."""
        return frozenset({HEAD, AUXILIARY, *self.new})


def adapt(
    architecture: Architecture,
    state: dict[str, Tensor] | None,
    size: int,
    classes: int,
    channels: int,
    settings: StrategyParams,
) -> Adapted:
    """Build a network, load its weights, and make its first layer, its stages and its head fit data and strategy.

    Every weight that is drawn depends on ``settings.seed`` alone.

    Args:
        architecture: which network.
        state: pretrained weights; ``None`` keeps random ones.
        size: working size in pixels.
        classes: number of classes, 2 or more.
        channels: of the images, 1 or more.
        settings: what is replaced, cut off and put in.

    Raises:
        UserError: the network doesn't take the size or the channels, or can't be changed as the strategy asks for.
    """
    torch.manual_seed(settings.seed)
    model = architecture.build(size)
    if state is not None:
        weights.fill(model, state)
    parts, name = architecture.split(model), architecture.head
    pretrained = Normalisation(architecture.mean, architecture.std)
    normalisation, replaced = replace_stem(model, architecture.input_layer, pretrained, channels, settings.stem)
    new = ("stem",) if replaced and not settings.stem.frozen else ()
    if settings.cut or settings.insert:
        images = torch.randn(2, channels, size, size)
        rebuilt = stages.rebuild(architecture.name, model, parts, name, images, classes, settings)
        new = (*new, *rebuilt.new)
        changed = tuple(rebuilt.parts)
        return Adapted(
            rebuilt.model, changed, rebuilt.head, normalisation, classes, new, architecture=architecture.name
        )
    replace_auxiliary(model, architecture.auxiliary, classes)
    parts, name = replace_head(model, parts, name, classes, settings.head)
    weight = architecture.auxiliary_weight
    return Adapted(model, tuple(parts), name, normalisation, classes, new, weight, architecture.name)
