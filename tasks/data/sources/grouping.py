"""Names by what they have in common."""

from collections.abc import Callable, Iterable


def grouped(names: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    """Return the names of each key, keys and names in the order in which they come."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return groups
