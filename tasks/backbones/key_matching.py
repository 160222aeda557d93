"""Weights from a file are matched with a network by name; whatever does not fit is an error or is reported."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from tasks.backbones.architecture import State
from tasks.errors import UserError, listed

SHOWN = 8


@dataclass(frozen=True)
class LoadReport:
    """Which tensors of a network came from a file.

    Attributes:
        matched: number of tensors that were taken from the file.
        left_out: names of the file's tensors that were not.
        new: names of the network's tensors that were drawn new.
        notes: what was done to make the file fit.
    """

    matched: int
    left_out: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the report as text, a line a fact."""
        facts = [f"{self.matched} tensors matched by name"]
        if self.left_out:
            facts.append(f"{len(self.left_out)} of the file left out: {listed(self.left_out, SHOWN)}")
        if self.new:
            facts.append(f"{len(self.new)} drawn new: {listed(self.new, SHOWN)}")
        return [*facts, *self.notes]

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "LoadReport":
        """Return the report that ``content`` gave."""
        names = (tuple(content[key]) for key in ("left_out", "new", "notes"))
        return cls(content["matched"], *names)

    def content(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


@dataclass(frozen=True)
class Converted:
    """A file's weights under a network's names.

    Attributes:
        may_lack: prefixes of tensors that such a file may come without, and why.
        notes: what was converted.
    """

    state: State
    may_lack: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def keys_match(state: State, wanted: State) -> bool:
    """Return whether a file's weights are under a network's names and in its shapes, though some may be lacking."""
    return all(name in wanted and not _differs(tensor, wanted[name]) for name, tensor in state.items())


def matches(patterns: Sequence[str], name: str) -> bool:
    """Return whether one of several regular expressions matches a whole name."""
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def match_keys(
    converted: Converted, drawn: State, leave_out: Sequence[str], where: str, head: str = ""
) -> tuple[State, LoadReport]:
    """Return a network's weights, taken from a file by name and drawn new where that is explained, and the report.

    Args:
        converted: the file's weights.
        drawn: random weights of the network.
        leave_out: regular expressions for whole names that are not taken from the file but drawn new.
        where: the file and the network, for messages.
        head: the network's classifier; drawn new where the file has nothing under its names, which is said.

    Raises:
        UserError: a name or shape in the file or the network that nothing explains, an expression that explains
            nothing, or no tensor that is the same.
    """
    converted, headless = _without_head(converted, drawn, head, leave_out)
    state, counters = _with_counters(converted.state, drawn)
    lacking = {
        prefix: names
        for prefix in converted.may_lack
        if (names := [name for name in drawn if _below(prefix, name)])
        and not any(_below(prefix, name) for name in state)
    }
    left_out = _matched({*state, *drawn}, leave_out)
    explained = left_out.union(*lacking.values())
    missing = [name for name in drawn if name not in state and name not in explained]
    unknown = [name for name in state if name not in drawn and name not in left_out]
    common = [name for name in drawn if name in state and name not in left_out]
    reshaped = [name for name in common if _differs(state[name], drawn[name])]
    _check_explained(where, {"missing": missing, "unknown": unknown, "of another shape": reshaped})
    if not common:
        raise UserError(f"{where}: backbone.leave_out leaves out all there is; for random weights say 'weights: none'")
    taken = {**drawn, **{name: state[name].to(drawn[name].dtype) for name in common}}
    report = LoadReport(
        len(common),
        (*headless, *(name for name in state if name in left_out)),
        tuple(name for name in drawn if name in explained),
        (*converted.notes, *counters, *(converted.may_lack[prefix] for prefix in lacking)),
    )
    return taken, report


def _check_explained(where: str, unexplained: Mapping[str, Sequence[str]]) -> None:
    problems = [f"{len(names)} {what} (such as {', '.join(names[:3])})" for what, names in unexplained.items() if names]
    if problems:
        raise UserError(
            f"{where}: {', '.join(problems)}; name in backbone.leave_out of params.yaml what is to be drawn new"
        )


def _without_head(
    converted: Converted, drawn: State, head: str, leave_out: Sequence[str]
) -> tuple[Converted, list[str]]:
    """Let a file lack the classifier as a whole, and leave out what it has in its place: a projection, for example."""
    of_head = [name for name in drawn if head and _below(head, name)]
    if not of_head or any(name in converted.state or matches(leave_out, name) for name in of_head):
        return converted, []
    instead = [name for name in converted.state if _below(head, name) and not matches(leave_out, name)]
    state = {name: tensor for name, tensor in converted.state.items() if name not in instead}
    why = f"the classifier '{head}', which the file has not, is drawn new"
    return replace(converted, state=state, may_lack={head: why, **converted.may_lack}), instead


def _with_counters(state: State, drawn: State) -> tuple[State, list[str]]:
    """Add the batch counters that files from before BatchNorm had them lack."""
    added = {
        name: torch.zeros_like(tensor)
        for name, tensor in drawn.items()
        if name.endswith(".num_batches_tracked")
        and name not in state
        and name.replace("num_batches_tracked", "running_mean") in state
    }
    notes = [f"{len(added)} counters of BatchNorm, which the file lacks, start at zero"] if added else []
    return {**state, **added}, notes


def _matched(names: Collection[str], patterns: Sequence[str]) -> set[str]:
    """Return the names that patterns match.

    Raises:
        UserError: a pattern matches none of them.
    """
    for pattern in patterns:
        if not any(matches([pattern], name) for name in names):
            raise UserError(
                f"params.yaml: backbone.leave_out '{pattern}' matches no tensor of the file or of the network, "
                f"which are named {listed(sorted(names), SHOWN)}"
            )
    return {name for name in names if matches(patterns, name)}


def _differs(tensor: Tensor, wanted: Tensor) -> bool:
    return tensor.shape != wanted.shape or tensor.is_floating_point() != wanted.is_floating_point()


def _below(prefix: str, name: str) -> bool:
    return name.startswith(prefix + ".")
