"""Names in pictures: as they are where matplotlib can write them, as numbers where it can't; the page explains these.

Its own font lacks Chinese, Japanese, Korean, Devanagari and most emoji, and it joins no letters of Arabic. Fonts of the
machine are not asked, so that pictures are the same everywhere; a browser writes any script.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font

FONT = "DejaVu Sans"
LEFTWARD = {"R", "AL", "AN"}  # directions of writing that need a shaper
JOINED = {"Mn", "Mc", "Me", "Cf", "Cc", "Cs"}  # marks that are placed over others, and signs that are not seen
MATHEMATICS = "$"
NUMBER = re.compile(r"#\d+")


class Lettering:
    """How names are written in the pictures of a data set.

    Attributes:
        numbered: the names that are numbers in pictures, in the order of the numbers.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        """Number every class that can't be written by its place among all, other names behind them as they come."""
        self._numbers = {name: place for place, name in enumerate(classes, 1) if not is_writable(name)}
        self._next = len(classes) + 1

    def of(self, name: str, longest: int = 60) -> str:
        """Return a name as matplotlib shows it: itself, cut where it is too long, or its number."""
        if is_writable(name):
            return literal(name if len(name) <= longest else name[: longest - 1] + "…")
        if name not in self._numbers:
            self._numbers[name] = self._next
            self._next += 1
        return f"#{self._numbers[name]}"

    @property
    def numbered(self) -> list[tuple[str, str]]:
        return [(f"#{number}", name) for name, number in sorted(self._numbers.items(), key=lambda entry: entry[1])]


def is_writable(text: str) -> bool:
    """Return whether matplotlib's own font has every sign of a text, none is joined to another, and it is no number."""
    return not NUMBER.fullmatch(text) and all(
        ord(sign) in _signs()
        and unicodedata.category(sign) not in JOINED
        and unicodedata.bidirectional(sign) not in LEFTWARD
        for sign in text
    )


def literal(text: str) -> str:
    """Return text that is drawn as it stands; a pair of dollar signs would be read as mathematics."""
    return text.replace(MATHEMATICS, rf"\{MATHEMATICS}")


@cache
def _signs() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties(family=FONT))).get_charmap())
