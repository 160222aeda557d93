"""Adapters: small trainable layers of the peft library beside frozen ones, merged into them after training."""

import re
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import nn

from tasks.backbones.tracing import has_state, modules_that_run
from tasks.errors import UserError, listed
from tasks.params import AdaptersParams
from tasks.strategies.heads import set_module
from tasks.strategies.surgery import Adapted


def inject(adapted: Adapted, params: AdaptersParams, parts: Sequence[str], size: int, channels: int) -> None:
    """Put adapters beside layers of a network, which compute nothing of their own to begin with.

    A layer ``x`` becomes ``x.base_layer``, in the same part. Layers whose weights the network uses without calling
    them, such as those of ``nn.MultiheadAttention``, can't have any: an adapter beside them would never run. (Peft's
    own adapter for it takes itself out of the weights by subtraction in every pass, which moves the frozen weights.)
    The adapters' weights depend on the seed that the network was made with.

    Args:
        adapted: the network, changed in place.
        params: kind, size and place of the adapters.
        parts: names of the parts that train; the head and parts with new weights train whole, without adapters.
        size: working size in pixels.
        channels: of the images.

    Raises:
        UserError: peft is not installed, or 'targets' match no layer, or one that can't have an adapter.
    """
    peft = _peft()
    if params.dropout and params.kind != "lora":
        raise UserError(f"params.yaml: 'adapters.dropout' goes with lora, not with {params.kind}: leave it out")
    chosen = [part for part in adapted.parts if part.name in parts and part.name not in adapted.with_new_weights]
    if not chosen:
        raise UserError("params.yaml: 'adapters' needs a part besides the head that trains: name one with 'train'")
    layers = {
        name: module
        for name, module in adapted.model.named_modules()
        if any(part.owns(name) for part in chosen) and not any(module.children()) and has_state(module)
    }
    ran = modules_that_run(adapted.model, torch.zeros(2, channels, size, size))
    problems = {name: _problem(module, module in ran) for name, module in layers.items()}
    targets = _targets(params.targets, problems, [part.name for part in chosen])
    torch.manual_seed(torch.initial_seed())
    peft.inject_adapter_in_model(_config(peft, params, targets), adapted.model)
    for _, layer in _adapters(adapted.model):
        _resemble(layer, layer.get_base_layer())
    adapted.model.requires_grad_(True)  # peft freezes what it doesn't add; what trains is the freeze plan's to say


def merge(model: nn.Module) -> None:
    """Merge all adapters of a network into the layers beside them, which get their own names again."""
    for name, layer in _adapters(model):
        layer.merge()
        set_module(model, name, layer.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config


def trainable_names(model: nn.Module) -> list[str]:
    """Return the names of all adapters' parameters, in the network's order."""
    return [
        f"{name}.{parameter}"
        for name, layer in _adapters(model)
        for parameter, _ in layer.named_parameters()
        if parameter.partition(".")[0] in layer.adapter_layer_names
    ]


def _peft() -> ModuleType:
    try:
        import peft
    except ImportError as error:
        raise UserError("params.yaml: 'adapters' needs the library peft: pip install -e '.[peft]'") from error
    return peft


def _adapters(model: nn.Module) -> list[tuple[str, Any]]:
    layer = _peft().tuners.tuners_utils.BaseTunerLayer
    return [(name, module) for name, module in model.named_modules() if isinstance(module, layer)]


def _resemble(layer: Any, base: Any) -> None:
    """Give an adapter the mode of the layer beside it, and its geometry, which some networks ask for."""
    layer.train(base.training)
    for name in base.__constants__:
        if hasattr(base, name) and not hasattr(layer, name):
            setattr(layer, name, getattr(base, name))


def _config(peft: ModuleType, params: AdaptersParams, targets: Sequence[str]) -> Any:
    names = "|".join(map(re.escape, targets))
    if params.kind == "lora":
        return peft.LoraConfig(
            r=params.rank, lora_alpha=params.alpha, lora_dropout=params.dropout, target_modules=names
        )
    if params.kind == "ia3":
        return peft.IA3Config(target_modules=names, feedforward_modules=[])  # every layer's output is scaled
    config = peft.LoHaConfig if params.kind == "loha" else peft.LoKrConfig
    return config(r=params.rank, alpha=params.alpha, target_modules=names)


def _targets(patterns: Sequence[str] | None, problems: Mapping[str, str | None], parts: Sequence[str]) -> list[str]:
    """Return the layers that get adapters: those that patterns match, or all that can have one."""
    able = [name for name, problem in problems.items() if problem is None]
    if not able:
        raise UserError(
            f"params.yaml: 'adapters' finds no layer in {', '.join(parts)} that can have one: train more with 'train'"
        )
    choice = f"choose from {listed(able)}"
    chosen: set[str] = set()
    for pattern in patterns or ():
        try:
            matched = [name for name in problems if re.fullmatch(pattern, name)]
        except re.error as error:
            raise UserError(f"params.yaml: adapters.targets: '{pattern}' is no regular expression: {error}") from error
        if not matched:
            raise UserError(
                f"params.yaml: adapters.targets: '{pattern}' matches no layer of {', '.join(parts)}: {choice}"
            )
        for name in matched:
            if problems[name]:
                raise UserError(
                    f"params.yaml: adapters.targets: '{pattern}' matches '{name}', which {problems[name]}: {choice}"
                )
        chosen.update(matched)
    return [name for name in able if patterns is None or name in chosen]


def _problem(layer: nn.Module, called: bool) -> str | None:
    """Return why a layer can't have an adapter, or None if it can."""
    if not isinstance(layer, nn.Linear | nn.Conv2d):
        return f"is a {type(layer).__name__}, neither a linear layer nor a convolution"
    if not called:
        return "the network uses without calling it"
    if type(layer) not in {nn.Linear, nn.Conv2d} or "weight" not in layer._parameters:
        return f"is a {type(layer).__name__} of its own kind"
    if isinstance(layer, nn.Conv2d):
        if layer.groups > 1:
            return f"is a convolution in {layer.groups} groups"
        if layer.dilation != (1, 1) or layer.padding_mode != "zeros":  # which peft passes over
            return "is a convolution with dilation or another padding than zeros"
    return None
