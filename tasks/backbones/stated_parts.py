"""Parts as ``backbone.parts`` of params.yaml states them."""

import difflib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from torch import nn

from tasks.backbones.architecture import Architecture, Part
from tasks.backbones.discovery import is_classifier
from tasks.backbones.division import check_division, divide, tensor_names
from tasks.errors import UserError, nearest
from tasks.params import PartsParams

SHOWN = 24


def with_parts(architecture: Architecture, parts: PartsParams | None) -> Architecture:
    """Return a description whose head is the one stated, and whose network is divided as stated, if anything is."""
    if parts is None:
        return architecture
    auxiliary = tuple(dict.fromkeys(last.partition(".")[0] for last in architecture.auxiliary))
    return replace(architecture, head=parts.head, split=partial(stated_parts, architecture.name, parts, auxiliary))


def stated_parts(name: str, parts: PartsParams, auxiliary: Sequence[str], model: nn.Module) -> list[Part]:
    """Return the parts that the user states, with ``aux`` before the head where there are auxiliary classifiers.

    Raises:
        UserError: a name that the network lacks, a part without weights, a head that can't be replaced, or a tensor
            that is in none or in several of the parts.
    """
    stated = [Part("stem", parts.stem), *(Part(f"stage{i}", names) for i, names in enumerate(parts.stages, 1))]
    stated += [Part("aux", tuple(auxiliary))] if auxiliary else []
    stated.append(Part("head", (parts.head,)))
    for part in stated:
        _check_names(name, part, model)
    head = dict(model.named_modules()).get(parts.head)
    if head is None or not is_classifier(head):
        kind = "tensor" if head is None else type(head).__name__
        raise UserError(
            f"params.yaml: backbone.parts.head '{parts.head}' is a {kind}, where "
            "a classifier ends in an nn.Linear or a 1x1 nn.Conv2d"
        )
    check_division(name, model, stated)
    owners = {tensor: next(i for i, part in enumerate(stated) if part.owns(tensor)) for tensor in tensor_names(model)}
    return divide(model, [part.name for part in stated], owners)


def _check_names(name: str, part: Part, model: nn.Module) -> None:
    modules = [module for module, _ in model.named_modules() if module]
    for prefix in part.prefixes:
        if prefix not in (*modules, *tensor_names(model)):
            raise UserError(
                f"params.yaml: backbone.parts: {part.name} names '{prefix}', which {name} lacks{_like(prefix, modules)}"
            )
    if not any(part.owns(parameter) for parameter, _ in model.named_parameters()):
        raise UserError(
            f"params.yaml: backbone.parts: {part.name} ({', '.join(part.prefixes)}) has no weights in {name}"
        )


def _like(prefix: str, modules: Sequence[str]) -> str:
    """Name the module that was meant, or the outermost modules."""
    close = difflib.get_close_matches(prefix, modules, n=1, cutoff=0.5)
    outermost = sorted(modules, key=lambda module: module.count("."))[:SHOWN]
    return nearest(prefix, close or outermost)
