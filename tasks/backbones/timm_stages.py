"""The stages of timm's networks: the groups of timm's authors, or what a forward pass says."""

from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace

from torch import nn

from tasks.backbones.architecture import Layout, Part
from tasks.backbones.discovery import find_head, find_input_layer, find_parts
from tasks.backbones.division import divide, tensor_names
from tasks.backbones.tracing import Call, has_state, trace

_UNMATCHED = "?"


def layout_of(name: str, model: nn.Module, size: int) -> Layout:
    """Return what the layers of a network are for.

    Args:
        name: of the network, for messages.
        model: the network; its weights need no storage.
        size: working size in pixels that it takes.

    Raises:
        UserError: its layers can't be told apart.
    """
    calls, logits = trace(model, size)
    input_layer, head = find_input_layer(name, calls), find_head(name, calls, logits)
    parts = _grouped_parts(model, head)
    if parts is None or not _follow_one_another(parts, calls, input_layer):
        parts = find_parts(name, model, calls, input_layer, head)
    return Layout(input_layer, head, tuple(parts))


def _grouped_parts(model: nn.Module, head: str) -> list[Part] | None:
    """Return the parts by timm's groups, if it has any; what is in none of them belongs to the last stage."""
    from timm.models import group_parameters

    try:
        matcher = model.group_matcher(coarse=True)  # type: ignore[operator]
    except (AttributeError, AssertionError, NotImplementedError):
        return None
    if matcher is None:
        return None
    tensors = tensor_names(model)
    # Buffers belong to groups, too, of which timm lists only the parameters.
    everything = SimpleNamespace(named_parameters=lambda: ((name, name) for name in [*tensors, _UNMATCHED]))
    groups = group_parameters(everything, matcher, reverse=True)  # type: ignore[arg-type]
    trunk = [tensor for tensor in tensors if not Part("head", (head,)).owns(tensor)]
    numbers = sorted({groups[tensor] for tensor in trunk} - {groups[_UNMATCHED]})
    owners = {tensor: len(numbers) for tensor in tensors}
    for tensor in trunk:
        owners[tensor] = numbers.index(groups[tensor]) if groups[tensor] in numbers else len(numbers) - 1
    return divide(model, ["stem", *(f"stage{i}" for i in range(1, len(numbers))), "head"], owners)


def _follow_one_another(parts: Sequence[Part], calls: Sequence[Call], input_layer: str) -> bool:
    """Return whether there are stages, and a forward pass goes through the parts in their order."""
    weighted = [call.name for call in calls if has_state(call.module)]
    places = [next((i for i, part in enumerate(parts) if part.owns(name)), -1) for name in weighted]
    ordered = all(before <= after for before, after in pairwise(place for place in places if place >= 0))
    return len(parts) > 2 and ordered and parts[0].owns(input_layer)
