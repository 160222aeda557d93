"""Which values of grey beyond 8 bits become black and white.

A range is made of four numbers an image, so that it depends on no order and no thread: what nearly all pixels of the
image lie between, and its smallest and largest value. No single pixel, and no few images of another exposure, set the
scale of a set; where nothing lies far outside, the range is that of all values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tasks.errors import NOTED

TAIL = 0.0005  # share of an image's pixels, at each end, that doesn't set its range
ENOUGH = 100  # pixels an image needs for one of them to be left out
OTHERS = 0.05  # share of the images, at each end, that doesn't set the range of the set
FEW = 8  # images; of fewer each counts, of so many one may be another
FENCE = 0.5  # widths of what is usual that a value may lie outside of it
NARROW = 0.1  # share of the set's range; images that need less of it are nearly flat in it
LEAST = 0.1  # share of the pixels that must be left of an image without what stands for no data
NOTHING = 1e30  # what programs write as 'no data' in floating point is beyond
NO_DATA = (0.0, 65535.0, -9999.0, -32768.0, -(2.0**31), 2.0**31 - 1)  # what they write there in integers, or borders

Range = tuple[float, float]
Asked = Literal["robust", "full", "image"] | Range
Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Extent:
    """How far the values of one image go.

    Attributes:
        low, high: between which all but 0.05 % of the pixels at each end lie.
        least, largest: the smallest and the largest value.
        no_data: values of a part of the image that stands for nothing, such as a border, and counts in none of these.
    """

    low: float
    high: float
    least: float
    largest: float
    no_data: tuple[float, ...] = ()

    @property
    def width(self) -> float:
        """How far the usual values go."""
        return self.high - self.low

    @property
    def own(self) -> Range:
        """The range of the image on its own."""
        return _within(self.low, self.high, [self.low, self.high, self.least, self.largest])

    def is_outside(self, used: Range) -> bool:
        """Whether a value lies outside of a range."""
        return self.least < used[0] or self.largest > used[1]


def extent(values: Values) -> Extent:
    """Return how far the finite values of an image of any shape go."""
    flat = values.ravel()
    left_out: tuple[float, ...] = ()
    for end in (flat.max(), flat.min()):
        share = np.count_nonzero(flat == end)
        if (float(end) in NO_DATA or abs(float(end)) > NOTHING) and _tail(flat.size) < share <= (1 - LEAST) * flat.size:
            rest = flat[flat != end]
            low, high = _ends(rest)
            if high > low and max(float(end) - high, low - float(end)) > high - low:
                flat, left_out = rest, (*left_out, float(end))
    return Extent(*_ends(flat), float(flat.min()), float(flat.max()), left_out)


def range_of(extents: Sequence[Extent], asked: Asked) -> Range:
    """Return the range of a set of at least one image: the values that become black and white.

    Args:
        extents: of all images.
        asked: ``full``: all values; two numbers: those; otherwise all that lie not far from what is usual.
    """
    if isinstance(asked, tuple):
        return asked
    values = [end for one in extents for end in (one.low, one.high, one.least, one.largest)]
    if asked == "full":
        nothing = [value for one in extents for value in one.no_data]
        return min(values + nothing), max(values + nothing)
    spared = max(1, int(OTHERS * len(extents))) if len(extents) >= FEW else 0
    low = sorted(one.low for one in extents)[spared]
    high = sorted(one.high for one in extents)[-1 - spared]
    return _within(low, high, values)


def remarks(found: Mapping[str, Extent], used: Range, asked: Asked) -> list[str]:
    """Return what a person should know of the scale of a set.

    Args:
        found: extents by path.
        used: the range of the set.
        asked: for.
    """
    notes = []
    outside = {path: one for path, one in found.items() if one.is_outside(used)} if asked != "image" else {}
    if outside:
        some = ", ".join(f"{path} ({one.least:g} to {one.largest:g})" for path, one in list(outside.items())[:NOTED])
        notes.append(
            f"grey beyond 8 bits: {used[0]:g} becomes black, {used[1]:g} white; {_images(outside, found)} values "
            f"outside, which are cut: {some}{_more(len(outside))}; data.range can be full, image (each by its own) or "
            "[LOW, HIGH]"
        )
    bordered = {path: one for path, one in found.items() if one.no_data} if asked in {"robust", "image"} else {}
    if bordered:
        path, one = next(iter(bordered.items()))
        notes.append(
            f"{_images(bordered, found)} a part without data, such as {path} (of the value {one.no_data[0]:g}), which "
            "doesn't count in the range; data.range: full counts it"
        )
    narrow = sum(0 < one.width < NARROW * (used[1] - used[0]) for one in found.values()) if asked != "image" else 0
    if len(found) >= FEW and narrow > len(found) / 2:
        notes.append(
            f"{narrow} of {len(found)} images use less than {NARROW:.0%} of the range from {used[0]:g} to {used[1]:g}, "
            "and are nearly flat in 8 bits: data.range: image scales each by its own"
        )
    return notes


def _tail(count: int) -> int:
    """Return how many of so many pixels are left out at each end."""
    return max(int(count >= ENOUGH), int(count * TAIL))


def _ends(flat: Values) -> Range:
    """Return between which values all but the tails lie."""
    tail = _tail(flat.size)
    parted = np.partition(flat, (tail, flat.size - 1 - tail))
    return float(parted[tail]), float(parted[flat.size - 1 - tail])


def _within(low: float, high: float, values: Sequence[float]) -> Range:
    """Return the smallest and the largest of the values that don't lie far outside of what is usual."""
    fence = FENCE * (high - low) if high > low else np.inf
    return min(v for v in values if v >= low - fence), max(v for v in values if v <= high + fence)


def _images(some: Mapping[str, Extent], found: Mapping[str, Extent]) -> str:
    return f"{len(some)} of {len(found)} images {'has' if len(some) == 1 else 'have'}"


def _more(count: int) -> str:
    return f" and {count - NOTED} more" if count > NOTED else ""
