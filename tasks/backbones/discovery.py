"""What the layers of an unknown network are for, found out from a forward pass."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from torch import Tensor, nn

from tasks.backbones.architecture import Part
from tasks.backbones.division import ancestors, divide, tensor_names
from tasks.backbones.tracing import BATCH, NORMS, Call, has_state, is_composed, levels
from tasks.errors import UserError

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def find_input_layer(name: str, calls: Sequence[Call]) -> str:
    """Return the convolution that meets the image.

    Raises:
        UserError: another layer with weights than a norm comes before it, it doesn't take three channels, or other
            convolutions meet the image too.
    """
    weighted = _weighted(calls)
    first = next((call for call in weighted if not is_norm(call.module)), None)
    if first is None or not isinstance(first.module, nn.Conv2d):
        raise UserError(
            f"params.yaml: backbone.name '{name}' has no convolution (nn.Conv2d) at the input: "
            f"its first layers are {_layers(weighted[:3])}"
        )
    if first.module.in_channels != 3:
        raise UserError(
            f"params.yaml: backbone.name '{name}' has a first convolution '{first.name}' of "
            f"{first.module.in_channels} input channels, where one that meets an RGB image has 3"
        )
    meeting = [call.name for call in calls if isinstance(call.module, nn.Conv2d) and call.module.in_channels == 3]
    if len(meeting) > 1:
        raise UserError(
            f"params.yaml: backbone.name '{name}' has {len(meeting)} convolutions of 3 input channels "
            f"({', '.join(meeting[:3])}) that meet the image, where one can be made to fit other images"
        )
    return first.name


def find_head(name: str, calls: Sequence[Call], logits: object) -> str:
    """Return the classifier's last layer.

    Raises:
        UserError: the last layer with weights is neither an ``nn.Linear`` nor a 1x1 ``nn.Conv2d``, or the network
            does not answer one number a class.
    """
    weighted = _weighted(calls)
    if not weighted or not is_classifier(weighted[-1].module):
        raise UserError(
            f"params.yaml: backbone.name '{name}' does not end in a linear layer (nn.Linear or a 1x1 nn.Conv2d) that "
            f"could be replaced: its last layers are {_layers(weighted[-3:])}"
        )
    classes = outputs_of(weighted[-1].module)
    if not isinstance(logits, Tensor) or logits.shape != (BATCH, classes):
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise UserError(
            f"params.yaml: backbone.name '{name}' answers {shape} for {BATCH} images, where a classifier that ends "
            f"in '{weighted[-1].name}' answers ({BATCH}, {classes})"
        )
    return weighted[-1].name


def find_parts(name: str, model: nn.Module, calls: Sequence[Call], input_layer: str, head: str) -> list[Part]:
    """Return stem, ``stage1`` … ``stageN`` and head of a network that ran.

    The stem is the first convolution and the norm after it. What follows is joined to a stage until the resolution
    falls; a block, such as a residual one, belongs to the resolution that it ends at. Where the resolution never
    falls, as in a plain transformer, each block is a stage. A norm belongs to the stage before it.

    Raises:
        UserError: no layers with weights lie between, or some did not run, so that their place is unknown.
    """
    outer = {*ancestors(input_layer), *ancestors(head)}
    falls = _falls_within(calls)
    blocks = _blocks(model, calls, lambda module: module not in outer and falls[module] <= 1)
    places = _places(blocks, input_layer, _where_resolution_falls)
    if max(places.values()) == 2:
        blocks = _blocks(model, calls, lambda module: module not in outer and not _has_blocks(model, module))
        places = _places(blocks, input_layer, _where_blocks_begin)
    if max(places.values()) == 1:
        raise UserError(
            f"params.yaml: backbone.name '{name}' has no layers with weights between its first convolution "
            f"'{input_layer}' and its classifier '{head}'"
        )
    buffers = dict(model.named_buffers())
    owners = {tensor: _owner(name, tensor, places, idle=tensor in buffers) for tensor in tensor_names(model)}
    names = ["stem", *(f"stage{number}" for number in range(1, max(places.values()))), "head"]
    return divide(model, names, owners, [call.name for call in calls])


def is_norm(module: nn.Module) -> bool:
    """Return whether a layer normalises, by its type or by what it is called."""
    return isinstance(module, NORMS) or ("Norm" in type(module).__name__ and not is_composed(module))


def is_classifier(module: nn.Module) -> bool:
    """Return whether a layer can be a classifier's last."""
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and set(module.kernel_size) == {1})


def outputs_of(module: nn.Module) -> int:
    """Return how many numbers a classifier's last layer answers."""
    return int(next(module.parameters()).shape[0])


@dataclass(frozen=True)
class _Block:
    """Layers that go into one part: those of a module, or a single one.

    Attributes:
        level: how often the resolution has fallen for good where the block ends.
    """

    name: str
    module: nn.Module
    layers: tuple[str, ...]
    level: int


def _blocks(model: nn.Module, calls: Sequence[Call], is_whole: Callable[[str], bool]) -> list[_Block]:
    """Return the blocks that have weights, in the order in which they run."""
    within: dict[str, list[Call]] = {}
    for call in calls:
        around = (name for name in ancestors(call.name) if _can_be_block(model.get_submodule(name)))
        within.setdefault(next(filter(is_whole, around), call.name), []).append(call)
    reached = levels([inside[-1].positions for inside in within.values()])
    return [
        _Block(name, model.get_submodule(name), tuple(call.name for call in inside), level)
        for (name, inside), level in zip(within.items(), reached, strict=True)
        if _weighted(inside)
    ]


def _places(
    blocks: Sequence[_Block], input_layer: str, begins: Callable[[Sequence[_Block]], list[bool]]
) -> dict[str, int]:
    """Return which part each layer is in: 0 for the stem, the highest for the head, which is the last block."""
    stem = [block.name for block in blocks].index(input_layer) + 1
    stem += is_norm(blocks[stem].module)
    stages = list(accumulate(begins(blocks[stem:-1])))
    numbers = [*[0] * stem, *stages, max(stages, default=0) + 1]
    return {layer: number for block, number in zip(blocks, numbers, strict=True) for layer in block.layers}


def _where_resolution_falls(blocks: Sequence[_Block]) -> list[bool]:
    """Return which blocks begin a stage: the first, and each that ends at a lower resolution than all before it."""
    reached = -1
    begins: list[bool] = []
    for block in blocks:
        begins.append(not begins or (block.level > reached and not is_norm(block.module)))
        reached = block.level if begins[-1] else reached
    return begins


def _where_blocks_begin(blocks: Sequence[_Block]) -> list[bool]:
    """Return which blocks begin a stage: each that consists of several layers; what comes before joins the first."""
    several = [is_composed(block.module) for block in blocks]
    first = several.index(True) if any(several) else 0
    return [index == 0 or (index > first and is_several) for index, is_several in enumerate(several)]


def _can_be_block(module: nn.Module) -> bool:
    """Return whether a module is no mere sequence of blocks."""
    return not isinstance(module, _CONTAINERS) or not any(is_composed(child) for child in module.children())


def _has_blocks(model: nn.Module, name: str) -> bool:
    """Return whether a module holds a plain sequence of blocks with weights."""
    return any(
        isinstance(module, nn.Sequential | nn.ModuleList) and sum(map(is_composed, module)) > 1
        for module in model.get_submodule(name).modules()
    )


def _falls_within(calls: Sequence[Call]) -> dict[str, int]:
    """Return how often the resolution falls for good between the first and the last layer of each module."""
    reached: defaultdict[str, list[int]] = defaultdict(list)
    for call, level in zip(calls, levels([call.positions for call in calls]), strict=True):
        for module in ancestors(call.name):
            reached[module].append(level)
    return {module: its_levels[-1] - its_levels[0] for module, its_levels in reached.items()}


def _owner(name: str, tensor: str, places: Mapping[str, int], *, idle: bool) -> int:
    """Return which part a tensor is in: its layer's, or, beside layers, that of the first layer below its module.

    Args:
        idle: the tensor is never trained, so that it may be in the stem if its layer doesn't run.
    """
    around = ancestors(tensor)
    for module in reversed(around):
        if module in places:
            return places[module]
        inside = [place for layer, place in places.items() if layer.startswith(module + ".")]
        if inside and (module == around[-1] or len(set(inside)) == 1):
            return min(inside[0], max(places.values()) - 1)
        if inside:
            break
    if not around or idle:
        return 0
    raise UserError(
        f"params.yaml: backbone.name '{name}' has a tensor '{tensor}' whose layer does not run in evaluation mode, so "
        "that its place is unknown: say in backbone.parts what the layers are for"
    )


def _weighted(calls: Sequence[Call]) -> list[Call]:
    return [call for call in calls if has_state(call.module)]


def _layers(calls: Sequence[Call]) -> str:
    return ", ".join(f"'{call.name}' ({type(call.module).__name__})" for call in calls) or "without weights"
