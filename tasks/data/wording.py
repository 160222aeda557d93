"""Numbers of things, as sentences have them."""


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
