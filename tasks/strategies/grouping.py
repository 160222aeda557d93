"""Names of parameters and buffers, sorted into the groups that freeze and thaw together.

An ordered list of name patterns a group, of which every tensor must match those of exactly one group, as in Big Vision
(Beyer et al., 2022): what is forgotten or listed twice is an error, never a guess.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from torch import nn

from tasks.backbones.architecture import Part
from tasks.backbones.discovery import is_norm
from tasks.backbones.division import tensor_names
from tasks.errors import UserError, listed
from tasks.params import StrategyParams
from tasks.strategies.freezing import REST, Group
from tasks.strategies.surgery import Adapted

STEM, ADAPTERS = "stem", "adapters"


def groups_of(settings: StrategyParams, adapted: Adapted, adapters: Collection[str] = ()) -> tuple[Group, ...]:
    """Return a network's groups as a strategy needs them: by part, by its own patterns, or split by kind.

    Args:
        settings: the strategy.
        adapted: the network; parts whose weights are new are never split.
        adapters: names of the adapters' parameters.

    Raises:
        UserError: patterns that don't fit the network, nothing of the kind that shall train, or a head to be solved
            that isn't linear.
    """
    model = adapted.model
    solves = any(phase.solver == "lbfgs" for phase in settings.schedule())
    if solves and not isinstance(model.get_submodule(adapted.head), nn.Linear):
        raise UserError(
            "params.yaml: 'solver: lbfgs' needs a classifier that is a linear layer, which this network has not: leave "
            "'solver' out"
        )
    if settings.groups:
        return group_by_pattern(model, settings.groups)
    inserted = {name for name in adapted.new if name != STEM}
    groups = tuple(
        replace(group, learns_statistics=group.part in inserted) for group in group_by_part(model, adapted.parts)
    )
    if settings.adapters:
        return split_off(model, groups, ADAPTERS, frozenset(adapters).__contains__, adapted.with_new_weights)
    if settings.only == "all":
        return groups
    norms = {name for name, module in model.named_modules() if is_norm(module)}
    belongs = {
        "norms": lambda name: name.rpartition(".")[0] in norms,
        "biases": lambda name: name.endswith("bias"),
    }[settings.only]
    split = split_off(model, groups, settings.only, belongs, adapted.with_new_weights)
    if all(group.kind != settings.only for group in split):
        raise UserError(
            f"params.yaml: 'only: {settings.only}' finds no {settings.only} outside the head of this network"
        )
    return split


def patterns_of(parts: Sequence[Part]) -> dict[str, list[str]]:
    """Return a network's own parts as patterns: each prefix, and everything below it."""
    return {part.name: [re.escape(prefix) + r"(\..*)?" for prefix in part.prefixes] for part in parts}


def group_by_part(model: nn.Module, parts: Sequence[Part]) -> tuple[Group, ...]:
    """Sort every parameter, buffer and leaf module of a network into the group of its part.

    Raises:
        UserError: a parameter or buffer belongs to no part, or to two.
    """
    return _sorted(model, patterns_of(parts))


def group_by_pattern(model: nn.Module, patterns: Mapping[str, Sequence[str]]) -> tuple[Group, ...]:
    """Sort a network by regular expressions for whole names, a list a group, from the image to the logits.

    Raises:
        UserError: a pattern that is no regular expression or matches nothing, or a tensor that matches the patterns of
            no group, or of two.
    """
    names = tensor_names(model)
    for group, expressions in patterns.items():
        for expression in expressions:
            try:
                matches = any(re.fullmatch(expression, name) for name in names)
            except re.error as error:
                raise UserError(
                    f"params.yaml: groups.{group}: '{expression}' is no regular expression: {error}"
                ) from None
            if not matches:
                raise UserError(
                    f"params.yaml: groups.{group}: '{expression}' matches no parameter or buffer; {_layers(model)}"
                )
    return _sorted(model, patterns)


def split_off(
    model: nn.Module, groups: Sequence[Group], kind: str, belongs: Callable[[str], bool], unsplit: Collection[str]
) -> tuple[Group, ...]:
    """Split what ``belongs`` off every group, as a group of its own named ``GROUP.kind``; the rest never trains.

    A module follows the split-off group if that has all of its weights; modules without any (dropout) do so, too.

    Args:
        model: the network.
        groups: from the image to the logits.
        kind: what is split off: ``norms``, ``biases`` or ``adapters``.
        belongs: whether the tensor of a name is of that kind.
        unsplit: names of groups that are kept as they are.
    """
    split: list[Group] = []
    for group in groups:
        if group.name in unsplit:
            split.append(group)
            continue
        names = {*group.parameters, *group.buffers}
        chosen = {name for name in names if belongs(name)}
        following = {module for module in group.modules if chosen and _is_all_of(model, module, chosen)}
        split.append(_restricted(model, group, group.name, REST, names - chosen, set(group.modules) - following))
        if chosen:
            split.append(_restricted(model, group, f"{group.name}.{kind}", kind, chosen, following))
    return tuple(split)


def _is_all_of(model: nn.Module, module: str, chosen: set[str]) -> bool:
    return all(f"{module}.{name}" in chosen for name, _ in model.get_submodule(module).named_parameters())


def _restricted(model: nn.Module, group: Group, name: str, kind: str, names: set[str], modules: set[str]) -> Group:
    parameters = tuple(parameter for parameter in group.parameters if parameter in names)
    return Group(
        name,
        parameters,
        tuple(buffer for buffer in group.buffers if buffer in names),
        tuple(module for module in group.modules if module in modules),
        sum(model.get_parameter(parameter).numel() for parameter in parameters),
        group.part,
        kind,
    )


def _sorted(model: nn.Module, patterns: Mapping[str, Sequence[str]]) -> tuple[Group, ...]:
    compiled = {group: list(map(re.compile, expressions)) for group, expressions in patterns.items()}

    def owners(name: str) -> list[str]:
        return [group for group, its in compiled.items() if any(pattern.fullmatch(name) for pattern in its)]

    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    owner: dict[str, str] = {}
    for name in (*parameters, *buffers):
        matching = owners(name)
        if len(matching) != 1:
            problem = f"more than one group ({', '.join(matching)})" if matching else "no group"
            raise UserError(
                f"the freeze plan: '{name}' belongs to {problem}; the groups are {', '.join(patterns)}, and every "
                "parameter and buffer must be in exactly one"
            )
        owner[name] = matching[0]
    modules = _owners_of_modules(model, owner, owners)
    return tuple(
        Group(
            group,
            tuple(name for name in parameters if owner[name] == group),
            tuple(name for name in buffers if owner[name] == group),
            tuple(name for name, its in modules.items() if its == group),
            sum(parameter.numel() for name, parameter in parameters.items() if owner[name] == group),
            group,
        )
        for group in patterns
    )


def _owners_of_modules(
    model: nn.Module, owner: Mapping[str, str], owners: Callable[[str], list[str]]
) -> dict[str, str]:
    """Return the group of every module that has tensors of its own or no children; one without follows its name.

    A module without tensors whose name matches no pattern is in the group of the module before it.
    """
    module_owner: dict[str, str] = {}
    before = next(iter(owner.values()))
    for name, module in model.named_modules():
        tensors = [*dict(module.named_parameters(recurse=False)), *dict(module.named_buffers(recurse=False))]
        if not name or (any(module.children()) and not tensors):
            continue
        before = owner[f"{name}.{tensors[0]}"] if tensors else next(iter(owners(name)), before)
        module_owner[name] = before
    return module_owner


def _layers(model: nn.Module) -> str:
    names = [
        name for name, module in model.named_modules() if name and not any(module.children()) and module.state_dict()
    ]
    return f"its layers are {listed(names)}"
