"""Every tensor is in exactly one group, and what can't be is said."""

import pytest
import torch
from torch import nn

from tasks.backbones import catalogue
from tasks.backbones.architecture import Part
from tasks.errors import UserError
from tasks.strategies import grouping
from tasks.strategies.freezing import REST, Group
from tests.tasks.strategies.test_freezing import PARTS, Toy


def tensors(groups: tuple[Group, ...]) -> list[str]:
    """Return the names of all tensors, group by group."""
    return [name for group in groups for name in (*group.parameters, *group.buffers)]


def everything(model: nn.Module) -> list[str]:
    """Return the names of a network's tensors, sorted."""
    return sorted(dict(model.named_parameters()) | dict(model.named_buffers()))


@pytest.mark.parametrize("name", ["mobilenet_v2", "shufflenet_v2_x0_5", "resnet18", "squeezenet1_0", "googlenet"])
def test_every_parameter_and_buffer_is_in_exactly_one_group(name: str) -> None:
    """Nothing of a network is forgotten, and nothing is listed twice."""
    architecture = catalogue.find(name)
    model = architecture.build(architecture.smallest)
    groups = grouping.group_by_part(model, architecture.split(model))
    assert sorted(tensors(groups)) == everything(model)
    assert sum(group.size for group in groups) == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        (PARTS[1:], "'stem.0.weight' belongs to no group"),
        ((*PARTS, Part("twice", ("body.1",))), "'body.1.weight' belongs to more than one group (stage1, twice)"),
    ],
)
def test_a_tensor_of_no_part_or_of_two_is_refused(parts: tuple[Part, ...], named: str) -> None:
    """The message names the tensor, what it is in, and the groups there are."""
    with pytest.raises(UserError) as error:
        grouping.group_by_part(Toy(), parts)
    assert named in str(error.value)
    assert parts[0].name in str(error.value)


def test_a_buffer_of_no_part_is_refused() -> None:
    """BatchNorm statistics count as much as weights do."""
    model = Toy()
    model.register_buffer("stray", torch.zeros(1))
    with pytest.raises(UserError, match="'stray' belongs to no group"):
        grouping.group_by_part(model, PARTS)


def test_groups_of_ones_own() -> None:
    """Patterns for whole names make groups in their order; modules follow their tensors."""
    model = Toy()
    patterns = {"norms": [r".*\.1\..*"], "convolutions": [r"(stem|body)\.0\..*"], "head": [r"head.*"]}
    groups = grouping.group_by_pattern(model, patterns)
    assert [group.name for group in groups] == list(patterns)
    assert sorted(tensors(groups)) == everything(model)
    norms = groups[0]
    assert set(norms.modules) >= {"stem.1", "body.1"}
    assert {name.rpartition(".")[0] for name in (*norms.parameters, *norms.buffers)} == {"stem.1", "body.1"}


@pytest.mark.parametrize(
    ("patterns", "problem"),
    [
        ({"all": [".*"], "none": [r"tail\..*"]}, r"groups.none: 'tail\..*' matches no parameter or buffer"),
        ({"some": [r"stem\..*"], "head": [r"head\..*"]}, "'body.0.weight' belongs to no group"),
        ({"all": [".*"], "head": [r"head\..*"]}, "'head.2.weight' belongs to more than one group (all, head)"),
        ({"all": ["("]}, "groups.all: '(' is no regular expression"),
    ],
)
def test_patterns_that_do_not_fit(patterns: dict[str, list[str]], problem: str) -> None:
    """One sentence that names the pattern or the tensor; a pattern without a match is told the layers' names."""
    with pytest.raises(UserError) as error:
        grouping.group_by_pattern(Toy(), patterns)
    assert problem in str(error.value)
    if "matches no" in problem:
        assert "stem.0" in str(error.value)


def test_splitting_off() -> None:
    """What belongs to a kind is a group of its own, its modules too; the rest and whole groups keep everything else."""
    model = Toy()
    groups = grouping.group_by_part(model, PARTS)
    split = grouping.split_off(model, groups, "norms", lambda name: ".1." in name, {"head"})
    assert sorted(tensors(split)) == everything(model)
    assert [(group.name, group.kind) for group in split] == [
        ("stem", REST), ("stem.norms", "norms"), ("stage1", REST), ("stage1.norms", "norms"), ("head", ""),
    ]  # fmt: skip
    by_name = {group.name: group for group in split}
    assert set(by_name["stem.norms"].buffers) == {
        f"stem.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert "stem.1" in by_name["stem.norms"].modules
    assert "stem.0" in by_name["stem"].modules
    assert {group.part for group in split} == {"stem", "stage1", "head"}
    assert sum(group.size for group in split) == sum(parameter.numel() for parameter in model.parameters())
    assert sorted(module for group in split for module in group.modules) == sorted(
        module for group in groups for module in group.modules
    )
