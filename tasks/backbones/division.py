"""Parts from what each tensor is for: whole modules are named where they can be, and no layer is left out."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from tasks.backbones.architecture import Part
from tasks.errors import UserError


def divide(model: nn.Module, names: Sequence[str], owners: Mapping[str, int], order: Sequence[str] = ()) -> list[Part]:
    """Return the parts of a network, which own each of its parameters, buffers and leaf modules exactly once.

    Leaf modules without weights (pooling, dropout) belong to the part that all weights around them are in, else to the
    part of the layer with weights that they feed, else to the head.

    Args:
        model: the network.
        names: of the parts, from the image to the logits; the layers of the last, the head, are named one by one.
        owners: of every parameter and buffer: the index of its part.
        order: modules in the order in which they run; those that aren't named run as they are defined.
    """
    leaves = [name for name, module in model.named_modules() if name and not any(module.children())]
    pieces = _by_piece(leaves, owners)
    around = _around(pieces)
    feeding = {**_next_owner(leaves, around), **_next_owner(order, around)}
    for leaf in leaves:
        if leaf not in around:
            enclosing = next((around[name] for name in ancestors(leaf)[::-1] if name in around), set())
            pieces[leaf] = next(iter(enclosing)) if len(enclosing) == 1 else feeding.get(leaf, len(names) - 1)
    around = _around(pieces)
    places = {name: place for place, name in enumerate(_definition(model))}
    prefixes: list[dict[str, None]] = [{} for _ in names]
    for piece, owner in sorted(pieces.items(), key=lambda item: places[item[0]]):
        exclusive = () if owner == len(names) - 1 else (name for name in ancestors(piece) if around[name] == {owner})
        prefixes[owner][next(iter(exclusive), piece)] = None
    return [Part(name, tuple(its)) for name, its in zip(names, prefixes, strict=True)]


def tensor_names(model: nn.Module) -> list[str]:
    """Return the names of all parameters and buffers of a network."""
    return [*dict(model.named_parameters()), *dict(model.named_buffers())]


def check_division(name: str, model: nn.Module, parts: Sequence[Part]) -> None:
    """Check that every parameter and buffer of a network is in exactly one part.

    Raises:
        UserError: names the first that isn't.
    """
    for tensor in tensor_names(model):
        owners = [part.name for part in parts if part.owns(tensor)]
        if len(owners) != 1:
            where = f"in the parts {' and '.join(owners)} at once" if owners else "in none of its parts"
            raise UserError(
                f"params.yaml: backbone.name '{name}' has a tensor '{tensor}' that is {where}: "
                "say in backbone.parts what the layers are for"
            )


def ancestors(name: str) -> list[str]:
    """Return the names of the modules around a module or tensor, from the outermost, without the network itself."""
    pieces = name.split(".")
    return [".".join(pieces[:end]) for end in range(1, len(pieces))]


def _definition(model: nn.Module) -> Iterator[str]:
    """Yield the names of all modules and tensors as they are defined."""
    for name, module in model.named_modules():
        yield name
        yield from (f"{name}.{tensor}" if name else tensor for tensor in (*module._parameters, *module._buffers))


def _by_piece(leaves: Sequence[str], owners: Mapping[str, int]) -> dict[str, int]:
    """Name leaf modules in place of their tensors, where one part owns them all."""
    within: defaultdict[str, set[int]] = defaultdict(set)
    for name, owner in owners.items():
        within[name.rpartition(".")[0]].add(owner)
    undivided = {leaf for leaf in leaves if len(within[leaf]) == 1}
    pieces: dict[str, int] = {}
    for name, owner in owners.items():
        leaf = name.rpartition(".")[0]
        pieces[leaf if leaf in undivided else name] = owner
    return pieces


def _around(pieces: Mapping[str, int]) -> dict[str, set[int]]:
    """Return the owners of what is below each name."""
    owners: defaultdict[str, set[int]] = defaultdict(set)
    for piece, owner in pieces.items():
        for name in (*ancestors(piece), piece):
            owners[name].add(owner)
    return dict(owners)


def _next_owner(order: Sequence[str], owners: Mapping[str, set[int]]) -> dict[str, int]:
    """Return the owner of the layer with weights that comes next after each of ``order``."""
    next_owner: dict[str, int] = {}
    owner = None
    for name in reversed(order):
        if name in owners:
            owner = min(owners[name])
        elif owner is not None:
            next_owner[name] = owner
    return next_owner
