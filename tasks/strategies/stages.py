"""Networks with other stages: the last ones taken away, new ones put in before a new head."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, fx, nn

from tasks.backbones.architecture import Part
from tasks.errors import UserError
from tasks.params import StrategyParams
from tasks.strategies.blocks import Bottleneck, MapAverage, TokenAverage, TransformerBlock, VectorBlock
from tasks.strategies.graphs import NotDivisibleError, front_of, lengthen, tokens_read, trace
from tasks.strategies.heads import head_on_features
from tasks.strategies.selectors import AUXILIARY, HEAD

BEHIND_STAGES = frozenset({AUXILIARY, HEAD})


@dataclass(frozen=True)
class Rebuilt:
    """A network with other stages.

    Attributes:
        model: takes normalised images, answers logits of shape (batch, classes).
        parts: stem, the kept stages, ``new1`` …, and head.
        head: the name of the new head, whose input are pooled features of shape (batch, width).
        new: names of the parts that were put in.
    """

    model: fx.GraphModule
    parts: list[Part]
    head: str
    new: tuple[str, ...]


def rebuild(
    name: str,
    model: nn.Module,
    parts: Sequence[Part],
    head: str,
    images: Tensor,
    classes: int,
    settings: StrategyParams,
) -> Rebuilt:
    """Return a network without its last stages, or with new ones before a new head.

    New stages start as the identity. For maps and vectors they are bottlenecks, which have no more parameters together
    than what is kept of the network; for tokens they are transformer blocks, as the network's own are. The head takes
    the average over all positions, or over the tokens that the old classifier took, and normalises it. Auxiliary
    classifiers are left out.

    Args:
        name: of the network, for messages.
        model: with all its stages and its old head; not to be used afterwards.
        parts: of the network.
        head: the name of its last layer.
        images: two normalised images of the working size; any will do.
        classes: number of classes, 2 or more.
        settings: ``cut``, ``insert`` and ``head``.

    Raises:
        UserError: more stages shall go than there are, or the forward pass can't be taken apart.
    """
    kept = _kept(name, parts, settings.cut)
    last = [part for part in parts if part.name not in BEHIND_STAGES][-1]
    try:
        front, kept = front_of(model, trace(model, parts, images), kept)
        layout = _feature_layout(
            _features(front, images),
            wide=lambda: _features(front, torch.cat([images, images], 3)),
            read=lambda tokens: tokens_read(model, trace(model, parts, images), last, head, images, tokens),
        )
    except NotDivisibleError as error:
        raise UserError(f"params.yaml: 'cut' and 'insert' can't take {name} apart: {error}") from error
    new = tuple(f"new{place}" for place in range(1, settings.insert + 1))
    attributes = {part: _free(front, part) for part in (*new, "pool", "head")}
    pool = [(attributes["pool"], layout.pool)] if layout.pool else []
    budget = sum(parameter.numel() for parameter in front.parameters()) // max(1, settings.insert)
    stages = [(attributes[part], layout.block(budget)) for part in new]
    chain = [*pool, *stages] if layout.pools_first else [*stages, *pool]
    lengthen(front, [*chain, (attributes["head"], head_on_features(layout.width, classes, settings.head))])
    added = [Part(part, (attributes[part],)) for part in new]
    top = Part("head", (attributes["head"], *(attribute for attribute, _ in pool)))
    return Rebuilt(front, [*kept, *added, top], attributes["head"], new)


@dataclass(frozen=True)
class _FeatureLayout:
    """What features are like, and what goes with them.

    Attributes:
        width: length of a vector of features.
        block: makes a new stage, given how many parameters it should have at most.
        pool: turns what the stages answer into vectors, if they answer anything else.
        pools_first: the pooling comes before the new stages.
    """

    width: int
    block: Callable[[int], nn.Module]
    pool: nn.Module | None
    pools_first: bool = False


def _kept(name: str, parts: Sequence[Part], cut: int) -> list[Part]:
    stages = [part.name for part in parts if part.name.startswith("stage")]
    if cut > len(stages):
        raise UserError(
            f"params.yaml: 'cut: {cut}' takes away more than the {len(stages)} stages of {name} ({', '.join(stages)})"
        )
    gone = {*stages[len(stages) - cut :], *BEHIND_STAGES}
    return [part for part in parts if part.name not in gone]


def _features(front: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        features = front(images)
    if not isinstance(features, Tensor) or features.ndim not in {2, 3, 4}:
        raise NotDivisibleError("the last stage that is kept doesn't answer one tensor of maps, tokens or vectors")
    return features


def _feature_layout(features: Tensor, wide: Callable[[], Tensor], read: Callable[[int], range]) -> _FeatureLayout:
    """Return the layout of features.

    Args:
        features: of square images.
        wide: returns the features of images twice as wide.
        read: returns which of so many tokens the old classifier took.
    """
    if features.ndim == 3:
        _, tokens, width = features.shape
        taken = read(tokens)
        return _FeatureLayout(width, lambda _: TransformerBlock(width), TokenAverage(taken.start, taken.stop))
    if features.ndim == 4 and features[0].numel() > max(features[0].shape):
        last = _channels_last(features, wide)
        width = features.shape[3 if last else 1]
        return _FeatureLayout(width, partial(Bottleneck, width, channels_last=last), MapAverage(channels_last=last))
    width = features[0].numel()
    return _FeatureLayout(
        width, partial(VectorBlock, width), nn.Flatten() if features.ndim == 4 else None, pools_first=True
    )


def _channels_last(maps: Tensor, wide: Callable[[], Tensor]) -> bool:
    """Return whether the channels are the last dimension of maps, which are as high as they are wide.

    Maps that are as deep, too, are told apart by wider images, which make one dimension longer.
    """
    _, first, second, third = maps.shape
    if not first == second == third:
        return first == second
    try:
        return wide().shape[3] == third
    except Exception:  # the network takes square images alone
        return False


def _free(model: nn.Module, name: str) -> str:
    """Return a name that no attribute of a network has."""
    return _free(model, f"{name}_") if hasattr(model, name) else name
