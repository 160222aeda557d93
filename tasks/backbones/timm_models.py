"""The networks of timm (PyTorch Image Models), and the weights that it has for them."""

import sys
from functools import cache, lru_cache, partial
from typing import Any

import torch
from torch import nn

from tasks.backbones import downloads, timm_registry
from tasks.backbones.architecture import Architecture, Layout, Part, State
from tasks.backbones.division import check_division
from tasks.backbones.key_matching import Converted, keys_match
from tasks.backbones.library import WeightsFile
from tasks.backbones.stated_parts import with_parts
from tasks.backbones.timm_stages import layout_of
from tasks.backbones.tracing import trace
from tasks.backbones.weights_files import is_weights_file
from tasks.errors import UserError, reason_of
from tasks.params import BackboneParams, PartsParams

CLASSES = 1000  # of a classifier for weights that come without one
LEAST_SIZE = 16  # what data.size may be
USUAL_STRIDE = 32


def has(name: str) -> bool:
    """Return whether a name is that of a network of timm."""
    return name.startswith(timm_registry.PREFIX)


def find(name: str, parts: PartsParams | None = None) -> Architecture:
    """Return the description of a network of timm, ``timm/NAME`` or ``timm/NAME.TAG``.

    The stages are the groups that timm's authors divide a network into, where they follow one another in a forward
    pass; otherwise they are found out from the forward pass alone.

    Args:
        name: of the network.
        parts: what its layers are for, instead.

    Raises:
        UserError: timm has no such network, or its layers can't be told apart.
    """
    cfg, layout = timm_registry.config(name), _layout(name)
    if cfg.classifier and cfg.classifier != layout.head:
        several = cfg.classifier if isinstance(cfg.classifier, list | tuple) else (cfg.classifier, layout.head)
        raise UserError(
            f"params.yaml: backbone.name '{name}' has {len(several)} classifiers ({', '.join(several)}), where one can "
            "be replaced: choose a network with one"
        )
    architecture = Architecture(
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
    return with_parts(architecture, parts)


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
            f"{timm_registry.config(name).input_size[-1]}: {reason}"
        )
    return _create(name, size)


def with_tag(params: BackboneParams) -> BackboneParams:
    """Put the pretrained tag that ``weights`` asks for into a network's name, as its metadata depend on it.

    Raises:
        UserError: there is no such tag, or the name has another one.
    """
    if params.weights == "none" or is_weights_file(params.weights):
        return params
    return params.model_copy(update={"name": timm_registry.tagged(params.name, params.weights)})


def named_weights(params: BackboneParams, architecture: Architecture) -> WeightsFile:
    """Return the verified file of timm's weights for a network whose name has a pretrained tag.

    Raises:
        UserError: timm has none that can be read safely.
        UnavailableError: no source has the weights; lists what was tried.
    """
    repository = timm_registry.repository(params.name)
    return WeightsFile(*downloads.from_huggingface(repository, params.sha256 or ""), architecture.licence)


def convert(name: str, state: State, model: nn.Module, _: int) -> Converted:
    """Return weights of a file under the names and in the shapes of a network.

    Where they differ, as at another working size, timm's own conversion of the network's files is used.
    """
    cfg, wanted = timm_registry.config(name), model.state_dict()
    head = _layout(name).head
    may_lack = {} if cfg.num_classes else {head: f"the weights have no classifier {head}, which is drawn new"}
    for tensor in (f"{head}.weight", f"{head}.bias"):
        if cfg.label_offset and tensor in state and len(state[tensor]) == len(wanted[tensor]) + cfg.label_offset:
            state = {**state, tensor: state[tensor][cfg.label_offset :]}  # a class for the background
    module = sys.modules[type(model).__module__]
    convert_names = getattr(module, "checkpoint_filter_fn", None)
    if convert_names is None or keys_match(state, wanted):
        return Converted(state, may_lack)
    converted = convert_names(dict(state), model)
    return Converted(dict(converted), may_lack, (f"the file was converted by {module.__name__}.checkpoint_filter_fn",))


@cache
def _layout(name: str) -> Layout:
    size = timm_registry.config(name).input_size[-1]
    return layout_of(name, _skeleton(name, size), size)


def _split(name: str, model: nn.Module) -> list[Part]:
    parts = list(_layout(name).parts)
    check_division(name, model, parts)
    return parts


@cache
def _smallest(name: str) -> int:
    """Return the least working size that was found to work: of what ``data.size`` may be, 16 and multiples of a stride.

    The stride is the distance in pixels of neighbours in the network's last features.
    """
    cfg = timm_registry.config(name)
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
        return reason_of(error)
    return _objection(model, size)


def _objection(model: nn.Module, size: int) -> str:
    """Return what a network that was built raises at images of a size, if it does."""
    try:
        trace(model, size)
    except Exception as error:  # whatever timm raises
        return reason_of(error)
    return ""


@lru_cache(maxsize=2)
def _skeleton(name: str, size: int) -> nn.Module:
    """Return the network without storage for its weights, which nobody changes."""
    with torch.device("meta"):
        return _create(name, size)


def _create(name: str, size: int) -> nn.Module:
    cfg = timm_registry.config(name)
    options: dict[str, Any] = {"img_size": size} if cfg.fixed_input_size else {}
    model: nn.Module = timm_registry.import_timm().create_model(
        name.removeprefix(timm_registry.PREFIX), pretrained=False, num_classes=cfg.num_classes or CLASSES, **options
    )
    return model
