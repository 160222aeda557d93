"""The weights in a checkpoint that are a network's: where in the file they are, and under which prefix."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from tasks.backbones.architecture import State
from tasks.backbones.weights_files import SHOWN
from tasks.errors import listed

# Of several that fit: averaged weights, which are what is published of such a training, come before those that were
# averaged, and these before the keys of contrastive learning.
_AVERAGED = re.compile(r"(^|[._])(ema|teacher|averaged?|swa)([._]|$)", re.I)
_SECOND = re.compile(r"(^|[._])(encoder_k|key|target|momentum)([._]|$)|_momentum|momentum_", re.I)
# With these prefixes DataParallel, torch.compile and Lightning name every tensor, also of files under other names.
_WRAPPERS = ("module.", "_orig_mod.", "model.", "backbone.", "net.", "network.", "encoder.", "student.", "teacher.")
COUNTER = "num_batches_tracked"  # of BatchNorm, which says nothing of what fits


def chosen(states: Mapping[str, State], wanted: Collection[str]) -> tuple[State, tuple[str, ...]]:
    """Return of a file's sets of tensors the one that fits a network best, under its names, and what was done.

    Args:
        states: the sets by where in the file they are.
        wanted: the network's names.
    """
    place = max(states, key=lambda place: (_fitting(states[place], wanted), -_rank(place)))
    state, notes = unwrapped(states[place], wanted)
    choice = []
    if place:
        others = [other or "the file itself" for other in states if other != place and states[other]]
        beside = f", beside which it has {listed(others, SHOWN)}" if others else ""
        choice.append(f"the weights are those under '{place}' in the file{beside}")
    return state, (*choice, *notes)


def unwrapped(state: State, wanted: Collection[str]) -> tuple[State, tuple[str, ...]]:
    """Take a prefix away from the names, if more of them are the network's without it; say so, and what is left out."""
    prefix = _best_prefix(state, wanted)
    if prefix:
        return _without(state, prefix)
    notes: list[str] = []
    for wrapper in _WRAPPERS * 2:
        wraps = bool(state) and all(name.startswith(wrapper) for name in state)
        if wraps and not any(name.startswith(wrapper) for name in wanted):
            state, more = _without(state, wrapper)
            notes += more
    return state, tuple(notes)


def _without(state: State, prefix: str) -> tuple[State, tuple[str, ...]]:
    notes = [f"the prefix '{prefix}' was taken away from the file's names"]
    others = [name for name in state if not name.startswith(prefix)]
    if others:
        groups = list(dict.fromkeys(".".join(name.split(".")[:2]) for name in others))
        notes.append(f"{len(others)} tensors of the file under other names were left out: {listed(groups, SHOWN)}")
    inside = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    return inside, tuple(notes)


def _best_prefix(state: Collection[str], wanted: Collection[str]) -> str:
    """Return the prefix under which most of the network's names are; empty for none, or where they are scattered."""
    counts = _counts(state, wanted)
    if not counts:
        return ""
    prefix = max(counts, key=lambda prefix: (counts[prefix], -_rank(prefix)))
    if counts[prefix] <= counts.get("", 0) or counts[prefix] < _weighing(wanted) / 2:
        return ""
    inside = {name.removeprefix(prefix) for name in state if name.startswith(prefix)}
    scattered = any(name in wanted and name not in inside for name in state)
    return "" if scattered else prefix


def _fitting(state: Collection[str], wanted: Collection[str]) -> int:
    return max(_counts(state, wanted).values(), default=0)


def _counts(state: Collection[str], wanted: Collection[str]) -> Counter[str]:
    """Return how many of the network's names a file has, by the prefix before them."""
    names = set(wanted)
    return Counter(
        prefix for name in state if not name.endswith(COUNTER) for prefix, rest in _divided(name) if rest in names
    )


def _divided(name: str) -> Iterator[tuple[str, str]]:
    yield "", name
    for dot in re.finditer(r"\.", name):
        yield name[: dot.end()], name[dot.end() :]


def _weighing(wanted: Collection[str]) -> int:
    return sum(not name.endswith(COUNTER) for name in wanted)


def _rank(place: str) -> int:
    return 0 if _AVERAGED.search(place) else 2 if _SECOND.search(place) else 1
