"""What the words of params.yaml stand for among the parts of a network: ``head``, ``stage3``, ``stages[2:]``."""

import re
from collections.abc import Sequence

from tasks.errors import UserError

HEAD, AUXILIARY = "head", "aux"  # names of parts
SLICE = re.compile(r"stages\[(?P<start>-?\d+)?(?:(?P<colon>:)(?P<stop>-?\d+)?)?\]")


def select(selectors: Sequence[str], names: Sequence[str], key: str = "train") -> tuple[str, ...]:
    """Return the names of the groups that selectors stand for, in the network's order.

    A selector is ``all``, ``stem``, ``stages``, ``head``, the name of a group such as ``stage3``, or a slice of the
    stages in Python's notation, such as ``stages[3:]`` (all but the first three) or ``stages[-1]`` (the last).

    Raises:
        UserError: a selector that stands for nothing.
    """
    stages = [name for name in names if name.startswith("stage")]
    chosen: set[str] = set()
    for selector in selectors:
        chosen.update(_selected(selector, stages, names, key))
    return tuple(name for name in names if name in chosen)


def _selected(selector: str, stages: list[str], names: Sequence[str], key: str) -> list[str]:
    if selector == "all":
        return list(names)
    if selector == "stages" and stages:
        return stages
    if selector in names:
        return [selector]
    match = SLICE.fullmatch(selector.replace(" ", ""))
    if match and (match["start"] or match["colon"]):
        start, stop = (int(match[bound]) if match[bound] else None for bound in ("start", "stop"))
        if match["colon"]:
            chosen = stages[start:stop]
        else:
            chosen = stages[start:][:1] if start is not None and -len(stages) <= start < len(stages) else []
        if chosen:
            return chosen
    last = f", or a slice of its {len(stages)} stages such as stages[{len(stages) - 1}:]" if stages else ""
    raise UserError(
        f"params.yaml: '{key}: {selector}' selects nothing of this network; choose from all, {', '.join(names)}{last}"
    )
