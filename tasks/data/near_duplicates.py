"""Pairs of images that show the same, found without comparing each with each."""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.data.fingerprints import LEVELS, Bools, Fingerprints, Floats, Thumbnails, fingerprints, levels
from tasks.data.scenes import NONE, Numbers, scenes

EXACT = 8192  # up to so many images, each is compared with each
LEADERS_A_ROOT = 4  # leaders for each unit of the square root of the number of images
NEAREST = 4  # leaders that an image follows; images that follow a common leader are compared
RANKS_CLOSER = 10  # times that ranks have to be closer to 1 than whitened fingerprints
ROUNDING = 1e-6  # of the products of identical vectors
BLOCK = 2048

Pairs = npt.NDArray[np.int64]


class Alike(NamedTuple):
    """Pairs of images that show the same.

    Attributes:
        pairs: places of images, shape (n, 2), the smaller first.
        values: how alike the two are, shape (n,).
        scenes: the scene that each image is a shot of, shape (images,), or ``NONE``.
    """

    pairs: Pairs
    values: Floats
    scenes: Numbers


def alike(thumbnails: Thumbnails, threshold: float | bool, labels: Numbers | None = None) -> Alike:
    """Return the pairs of images that show the same.

    Two images do if the cosine of their whitened fingerprints reaches ``threshold``, or the rank correlation of their
    thumbnails comes ten times closer to 1; overexposed images are compared by the values that aren't saturated in
    either. Shots of one scene (``tasks.data.scenes``) are compared by fingerprints that are whitened by the scene's own
    components, and by nothing else. Beyond 8,192 images only those are compared that follow a common one of about
    ``4 sqrt(n)`` leaders, each image its four nearest, which takes time in proportion to n**1.5.

    Args:
        thumbnails: uint8 of shape (images, 32, 32).
        threshold: False finds nothing.
        labels: the class of each image, by which shots of one scene are told from copies; without it by number alone.
    """
    count = len(thumbnails)
    classes = np.zeros(count, dtype=np.int64) if labels is None else labels
    found = [Alike(np.empty((0, 2), dtype=np.int64), np.empty(0, dtype=np.float32), np.full(count, NONE))]
    if threshold is not False:
        order = np.argsort([zlib.crc32(one.tobytes()) for one in thumbnails], kind="stable")
        own = levels(thumbnails)
        for level in LEVELS:
            compared = order[own[order] >= level]
            asks = own[compared] == level
            if asks.any():
                part = _within(thumbnails[compared], classes[compared], asks, level, float(threshold))
                shown = np.full(count, NONE)
                shown[compared[asks]] = part.scenes[asks]
                found.append(Alike(np.sort(compared[part.pairs], axis=1), part.values, shown))
    pairs, values = np.concatenate([one.pairs for one in found]), np.concatenate([one.values for one in found])
    unique, first = np.unique(pairs, axis=0, return_index=True)
    return Alike(unique, values[first], np.max([one.scenes for one in found], axis=0))


def _within(thumbnails: Thumbnails, classes: Numbers, asks: Bools, level: float, threshold: float) -> Alike:
    """Return the pairs among thumbnails, at least one of whose images asks."""
    prints = fingerprints(thumbnails, level)
    shown = scenes(prints.ranks, classes)
    parts = [] if (shown != NONE).all() else [_compared(prints, classes, asks, threshold, shown)]
    for scene in np.unique(shown[shown != NONE]):
        shots = np.flatnonzero(shown == scene)
        own = fingerprints(thumbnails[shots], level)
        bare = Fingerprints(np.zeros_like(own.ranks), own.whitened)
        pairs, values = _compared(bare, classes[shots], asks[shots], threshold, np.full(len(shots), NONE))
        parts.append((shots[pairs], values))
    return Alike(np.concatenate([pairs for pairs, _ in parts]), np.concatenate([values for _, values in parts]), shown)


def _compared(
    prints: Fingerprints, classes: Numbers, asks: Bools, threshold: float, shown: Numbers
) -> tuple[Pairs, Floats]:
    """Return the pairs of near fingerprints, but those within a scene, and how near they are."""
    same, same_ranks = min(threshold, 1 - ROUNDING), min(1 - (1 - threshold) / RANKS_CLOSER, 1 - ROUNDING)
    pairs, values = [np.empty((0, 2), dtype=np.int64)], [np.empty(0, dtype=np.float32)]
    for members in _neighbourhoods(prints.whitened):
        rows = members[asks[members]]
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            likeness = np.clip(prints.whitened[block] @ prints.whitened[members].T, 0, 1)
            ranks = prints.ranks[block] @ prints.ranks[members].T
            by_ranks = (ranks >= same_ranks) & (classes[block][:, None] == classes[members])
            near = (likeness >= same) | by_ranks
            near &= (shown[block][:, None] == NONE) | (shown[block][:, None] != shown[members])
            one, two = np.nonzero(near)
            kept = block[one] != members[two]
            one, two = one[kept], two[kept]
            pairs.append(np.stack([block[one], members[two]], axis=1))
            values.append(np.maximum(likeness[one, two], by_ranks[one, two] * ranks[one, two]))
    return np.concatenate(pairs), np.concatenate(values).clip(0, 1)


def _neighbourhoods(vectors: Floats) -> Iterator[npt.NDArray[np.int64]]:
    """Yield sets of places in which every pair of near vectors stands together at least once."""
    count = len(vectors)
    if count <= EXACT:
        yield np.arange(count)
        return
    leaders = vectors[:: max(1, int(count**0.5 / LEADERS_A_ROOT))]
    follows = np.empty((count, NEAREST), dtype=np.int64)
    for start in range(0, count, BLOCK):
        nearness = vectors[start : start + BLOCK] @ leaders.T
        follows[start : start + BLOCK] = np.argpartition(-nearness, NEAREST, axis=1)[:, :NEAREST]
    order = np.argsort(follows.ravel(), kind="stable")
    cuts = np.flatnonzero(np.diff(follows.ravel()[order])) + 1
    for part in np.split(order // NEAREST, cuts):
        yield np.sort(part)
