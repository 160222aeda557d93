"""Numbers, times and names of things, as sentences have them."""

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


def duration(seconds: float) -> str:
    """Return a time in the unit that says enough: ``12 s``, ``6 min``, ``1 h 35 min``; at least a second."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def megabytes(count: float) -> str:
    """Return a number of bytes as megabytes, of 1,000,000 bytes each: ``14.2 MB``."""
    return f"{count / 1e6:,.1f} MB"
