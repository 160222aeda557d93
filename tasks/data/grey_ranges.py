"""Which values of grey beyond 8 bits become black and white.

A range is made of four numbers an image, so that it depends on no order and no thread: what nearly all pixels of the
image lie between, and its smallest and largest value. No single pixel, and no few images of another exposure, set the
scale of a set; where nothing lies far outside, the range is that of all values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tasks.arrays import Values
from tasks.errors import NOTED, listed
from tasks.wording import have

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
    def own_range(self) -> Range:
        """The range of the image on its own."""
        return _within(self.low, self.high, [self.low, self.high, self.least, self.largest])

    def is_outside(self, used: Range) -> bool:
        """Whether a value lies outside of a range."""
        return self.least < used[0] or self.largest > used[1]


def extent_of(values: Values) -> Extent:
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
    values = [value for image in extents for value in (image.low, image.high, image.least, image.largest)]
    if asked == "full":
        no_data = [value for image in extents for value in image.no_data]
        return min(values + no_data), max(values + no_data)
    spared = max(1, int(OTHERS * len(extents))) if len(extents) >= FEW else 0
    low = sorted(image.low for image in extents)[spared]
    high = sorted(image.high for image in extents)[-1 - spared]
    return _within(low, high, values)


def notes_on_range(extents: Mapping[str, Extent], used: Range, asked: Asked) -> list[str]:
    """Return what a person should know of the scale of a set.

    Args:
        extents: of the images, by path.
        used: the range of the set.
        asked: for.
    """
    no_data = _notes_on_no_data(extents) if asked in {"robust", "image"} else []
    if asked == "image":
        return no_data
    return [*_notes_on_cut_values(extents, used), *no_data, *_notes_on_flat_images(extents, used)]


def _notes_on_cut_values(extents: Mapping[str, Extent], used: Range) -> list[str]:
    outside = {path: extent for path, extent in extents.items() if extent.is_outside(used)}
    if not outside:
        return []
    examples = [f"{path} ({extent.least:g} to {extent.largest:g})" for path, extent in outside.items()]
    return [
        f"grey beyond 8 bits: {used[0]:g} becomes black, {used[1]:g} white; {len(outside)} of {len(extents)} images "
        f"{have(len(outside))} values outside, which are cut: {listed(examples, NOTED)}; data.range can be full, image "
        "(each by its own) or [LOW, HIGH]"
    ]


def _notes_on_no_data(extents: Mapping[str, Extent]) -> list[str]:
    bordered = {path: extent for path, extent in extents.items() if extent.no_data}
    if not bordered:
        return []
    path, extent = next(iter(bordered.items()))
    return [
        f"{len(bordered)} of {len(extents)} images {have(len(bordered))} a part without data, such as {path} (of the "
        f"value {extent.no_data[0]:g}), which doesn't count in the range; data.range: full counts it"
    ]


def _notes_on_flat_images(extents: Mapping[str, Extent], used: Range) -> list[str]:
    narrow = sum(0 < extent.width < NARROW * (used[1] - used[0]) for extent in extents.values())
    if len(extents) < FEW or narrow <= len(extents) / 2:
        return []
    return [
        f"{narrow} of {len(extents)} images use less than {NARROW:.0%} of the range from {used[0]:g} to {used[1]:g}, "
        "and are nearly flat in 8 bits: data.range: image scales each by its own"
    ]


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
