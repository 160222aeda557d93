"""Numbers and names of things, as sentences have them."""

from collections.abc import Iterable


def counted(count: int, plural: str, singular: str = "") -> str:
    """Return ``1 image`` or ``2 images``.

    Args:
        count: of the things.
        plural: what several are called.
        singular: what one is called; empty: the plural without its last ``s``.
    """
    return f"{count} {plural if count != 1 else singular or plural.removesuffix('s')}"


def have(count: int) -> str:
    """Return the verb that so many things take."""
    return "has" if count == 1 else "have"


def enumerated(names: Iterable[str], conjunction: str = "and") -> str:
    """Return ``one``, ``one and two``, or ``one, two and three``."""
    *first, last = names
    return f"{', '.join(first)} {conjunction} {last}" if first else last
