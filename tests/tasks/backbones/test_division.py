"""Parts own every tensor and every leaf module once, whichever way a network is divided."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tasks.backbones.architecture import Part
from tasks.backbones.division import check_division, divide, tensor_names
from tasks.errors import UserError
from tests.tasks.backbones.skeletons import leaves, owners, tensors

LEAVES = st.sampled_from([lambda: nn.Linear(1, 1), nn.Identity, nn.ReLU, lambda: nn.BatchNorm1d(1), nn.Dropout])
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, min_size=1, max_size=4), max_leaves=12)


def grown(tree: object) -> nn.Module:
    """Return the network that a tree of builders stands for."""
    module = tree() if callable(tree) else nn.Sequential(*(grown(branch) for branch in tree))  # type: ignore[attr-defined]
    assert isinstance(module, nn.Module)
    return module


@given(TREES, st.data())
def test_every_name_has_one_owner(tree: object, data: st.DataObject) -> None:
    """Layers may be given to parts in any way: each tensor and each leaf is in one part, each tensor in its own."""
    model = nn.Sequential(grown(tree), nn.Dropout(), nn.Linear(1, 1))
    names = ["stem", "stage1", "stage2", "head"]
    layers = sorted({tensor.rpartition(".")[0] for tensor in tensors(model)} - {"2"})
    chosen = {layer: data.draw(st.integers(0, 2)) for layer in layers} | {"2": 3}
    parts = divide(model, names, {tensor: chosen[tensor.rpartition(".")[0]] for tensor in tensors(model)})
    assert [part.name for part in parts] == names
    assert all(len(its) == 1 for its in owners(parts, [*tensors(model), *leaves(model)]).values())
    assert all(parts[chosen[layer]].owns(layer) for layer in layers)
    assert set(parts[-1].prefixes) >= {"1", "2"}
    check_division("any", model, parts)


def test_modules_without_weights_go_with_what_is_around_or_after_them() -> None:
    """Inside a stage they are the stage's; between parts they are of the part that they feed; at the end the head's."""
    model = nn.Sequential(
        nn.Linear(1, 1),
        nn.ReLU(),
        nn.Sequential(nn.Linear(1, 1), nn.Dropout()),
        nn.Dropout(),
        nn.Linear(1, 1),
        nn.ReLU(),
    )
    numbers = {"0": 0, "2.0": 1, "4": 2}
    owned = {tensor: numbers[tensor.rpartition(".")[0]] for tensor in tensor_names(model)}
    stem, stage, head = divide(model, ["stem", "stage1", "head"], owned)
    assert stem.prefixes == ("0",)
    assert stage.prefixes == ("1", "2")
    assert head.prefixes == ("3", "4", "5")


def test_order_of_running_decides_before_that_of_the_definition() -> None:
    """A dropout that is defined last and runs before a stage is that stage's."""
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1), nn.Dropout())
    owned = {tensor: int(tensor[0]) for tensor in tensor_names(model)}
    assert divide(model, ["stem", "stage1", "head"], owned)[2].prefixes == ("2", "3")
    assert divide(model, ["stem", "stage1", "head"], owned, ["0", "3", "1", "2"])[1].prefixes == ("1", "3")


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([Part("stem", ("0",)), Part("head", ("1.weight",))], r"'1\.bias' that is in none of its parts"),
        ([Part("stem", ("0", "1.bias")), Part("head", ("1",))], r"'1\.bias' that is in the parts stem and head"),
    ],
)
def test_tensor_in_no_part_or_in_two_is_named(parts: list[Part], said: str) -> None:
    """The first tensor without exactly one owner is named, and what can be done about it."""
    with pytest.raises(UserError, match=rf"{said}.*backbone\.parts"):
        check_division("own:net", nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)), parts)
