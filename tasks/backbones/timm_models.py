"""The networks of timm (PyTorch Image Models), whose layers are found out from timm's own groups and a forward pass."""

import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tasks.backbones.architecture import Architecture, Part
from tasks.backbones.discovery import find_head, find_input_layer, find_parts
from tasks.backbones.division import check_division, divide, tensor_names
from tasks.backbones.fitting import Converted, State, fits
from tasks.backbones.tracing import Call, has_state, trace
from tasks.errors import UserError, nearest

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

PREFIX = "timm/"
PRETRAINED = "pretrained"
CLASSES = 1000  # of a classifier for weights that come without one
LEAST_SIZE = 16  # what data.size may be
_UNMATCHED = "?"
USUAL_STRIDE = 32


@dataclass(frozen=True)
class _Layout:
    input_layer: str
    head: str
    parts: tuple[Part, ...]


def find(name: str) -> Architecture:
    """Return the description of a network of timm, ``timm/NAME`` or ``timm/NAME.TAG``.

    The stages are the groups that timm's authors divide a network into, where they follow one another in a forward
    pass; otherwise they are found out from the forward pass alone.

    Raises:
        UserError: timm is not installed, has no such network, or its layers can't be told apart.
    """
    cfg, layout = config(name), _layout(name)
    if cfg.classifier and cfg.classifier != layout.head:
        several = cfg.classifier if isinstance(cfg.classifier, list | tuple) else (cfg.classifier, layout.head)
        raise UserError(
            f"params.yaml: backbone.name '{name}' has {len(several)} classifiers ({', '.join(several)}), where one can "
            "be replaced: choose a network with one"
        )
    return Architecture(
        name=name,
        head=layout.head,
        input_layer=layout.input_layer,
        auxiliary=(),
        auxiliary_weight=0.0,
        mean=tuple(cfg.mean),
        std=tuple(cfg.std),
        size=cfg.input_size[-1],
        smallest=_smallest(name),
        recipe=None,
        licence=f"{cfg.license or 'not stated'} (timm)",
        build=partial(build, name),
        split=partial(_split, name),
    )


def config(name: str) -> "PretrainedCfg":
    """Return what timm states about a network and its pretrained weights.

    Raises:
        UserError: timm is not installed, has no network of that name or no pretrained tag of that name for it.
    """
    timm = _library()
    architecture, _, tag = name.removeprefix(PREFIX).partition(".")
    if architecture not in timm.list_models():
        close = difflib.get_close_matches(architecture, timm.list_models(), n=1, cutoff=0.5)
        meant = nearest(f"{PREFIX}{architecture}", [f"{PREFIX}{found}" for found in close]) if close else ""
        raise UserError(f"params.yaml: backbone.name '{name}' is not a network of timm {timm.__version__}{meant}")
    tags = tags_of(architecture)
    if tag and tag not in tags:
        raise UserError(f"params.yaml: backbone.name '{name}' has no pretrained tag '{tag}'{nearest(tag, tags)}")
    cfg: PretrainedCfg | None = timm.models.get_pretrained_cfg(name.removeprefix(PREFIX))
    return cfg or timm.models.PretrainedCfg()


def tags_of(architecture: str) -> list[str]:
    """Return the pretrained tags of a network, which is named without ``timm/``."""
    listed = _library().list_models(architecture, include_tags=True)
    return [name.partition(".")[2] for name in listed if name.partition(".")[2]]


def tagged(name: str, weights: str) -> str:
    """Return the name of a network together with the pretrained tag of the weights that are asked for.

    Args:
        name: ``timm/NAME`` or ``timm/NAME.TAG``.
        weights: a tag, or ``pretrained`` for the one in the name or else timm's default.

    Raises:
        UserError: there is no such tag, or the name has another one.
    """
    cfg = config(name)
    architecture, _, own = name.removeprefix(PREFIX).partition(".")
    tags = tags_of(architecture)
    if weights != PRETRAINED and weights not in tags:
        raise UserError(
            f"params.yaml: backbone.weights '{weights}' is neither a file nor a pretrained tag of "
            f"{PREFIX}{architecture}{nearest(weights, [*tags, PRETRAINED, 'none'])}"
        )
    if weights != PRETRAINED and own not in {"", weights}:
        raise UserError(
            f"params.yaml: backbone.weights '{weights}' is not the pretrained tag of backbone.name '{name}'"
        )
    tag = cfg.tag if weights == PRETRAINED else weights
    return f"{PREFIX}{architecture}.{tag}" if tag else name


def repository(name: str) -> str:
    """Return the repository on the Hugging Face hub that has a network's weights.

    Raises:
        UserError: there is none.
    """
    cfg = config(name)
    if not cfg.hf_hub_id or cfg.hf_hub_filename:
        raise UserError(
            f"params.yaml: backbone.weights: timm has no safetensors file for {name} on the Hugging Face hub; "
            "give a file, or 'none' for random weights"
        )
    return str(cfg.hf_hub_id)


def build(name: str, size: int) -> nn.Module:
    """Return a network of timm with random weights and the classifier of its pretrained weights.

    Where those come without a classifier, it has one of 1000 classes.

    Raises:
        UserError: the network does not take images of that size.
    """
    reason = _refusal(name, size)
    if reason:
        raise UserError(
            f"params.yaml: data.size {size} is none that {name} takes, which was trained at "
            f"{config(name).input_size[-1]}: {reason}"
        )
    return _create(name, size)


def convert(name: str, state: State, model: nn.Module) -> Converted:
    """Return weights of a file under the names and in the shapes of a network.

    Where they differ, as at another working size, timm's own conversion of the network's files is used.
    """
    cfg, wanted = config(name), model.state_dict()
    head = _layout(name).head
    may_lack = {} if cfg.num_classes else {head: f"the weights have no classifier {head}, which is drawn new"}
    for tensor in (f"{head}.weight", f"{head}.bias"):
        if cfg.label_offset and tensor in state and len(state[tensor]) == len(wanted[tensor]) + cfg.label_offset:
            state = {**state, tensor: state[tensor][cfg.label_offset :]}  # a class for the background
    module = sys.modules[type(model).__module__]
    convert_names = getattr(module, "checkpoint_filter_fn", None)
    if convert_names is None or fits(state, wanted):
        return Converted(state, may_lack)
    converted = convert_names(dict(state), model)
    return Converted(dict(converted), may_lack, (f"the file was converted by {module.__name__}.checkpoint_filter_fn",))


@cache
def _layout(name: str) -> _Layout:
    size = config(name).input_size[-1]
    model = _skeleton(name, size)
    calls, logits = trace(model, size)
    input_layer, head = find_input_layer(name, calls), find_head(name, calls, logits)
    parts = _grouped_parts(model, head)
    if parts is None or not _follow_one_another(parts, calls, input_layer):
        parts = find_parts(name, model, calls, input_layer, head)
    return _Layout(input_layer, head, tuple(parts))


def _split(name: str, model: nn.Module) -> list[Part]:
    parts = list(_layout(name).parts)
    check_division(name, model, parts)
    return parts


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
    # Buffers belong to groups, too, of which timm lists the parameters alone.
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


@cache
def _smallest(name: str) -> int:
    """Return the least working size that was found to work: of what ``data.size`` may be, 16 and multiples of a stride.

    The stride is the distance in pixels of neighbours in the network's last features.
    """
    cfg = config(name)
    size = int(cfg.input_size[-1])
    if cfg.min_input_size:
        return int(cfg.min_input_size[-1])
    model = _skeleton(name, size)
    features: Any = getattr(model, "feature_info", None)
    stride = int(features[-1].get("reduction", USUAL_STRIDE)) if features else USUAL_STRIDE
    sides: tuple[int, ...] = (LEAST_SIZE, *range(stride, size, stride))
    for side in sides:
        if side >= LEAST_SIZE and not (_refusal(name, side) if cfg.fixed_input_size else _objection(model, side)):
            return side
    return size


@cache
def _refusal(name: str, size: int) -> str:
    """Return why a network does not take images of a size; nothing if it does."""
    try:
        model = _skeleton(name, size)
    except Exception as error:  # whatever timm raises
        return _line(error)
    return _objection(model, size)


def _objection(model: nn.Module, size: int) -> str:
    """Return what a network that was built raises at images of a size, if it does."""
    try:
        trace(model, size)
    except Exception as error:  # whatever timm raises
        return _line(error)
    return ""


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


@lru_cache(maxsize=2)
def _skeleton(name: str, size: int) -> nn.Module:
    """Return the network without storage for its weights, which nobody changes."""
    with torch.device("meta"):
        return _create(name, size)


def _create(name: str, size: int) -> nn.Module:
    cfg = config(name)
    options: dict[str, Any] = {"img_size": size} if cfg.fixed_input_size else {}
    model: nn.Module = _library().create_model(
        name.removeprefix(PREFIX), pretrained=False, num_classes=cfg.num_classes or CLASSES, **options
    )
    return model


def _library() -> Any:
    try:
        import timm
        import timm.models
    except ImportError as error:
        raise UserError(
            "params.yaml: backbone.name asks for a network of timm, which is not installed: pip install -e '.[timm]'"
        ) from error
    return timm
