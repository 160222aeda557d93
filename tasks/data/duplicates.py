"""Pairs of images that show the same, found without comparing each with each."""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.data.fingerprints import LEVELS, Floats, Thumbnails, fingerprints, levels

EXACT = 8192  # up to so many images, each is compared with each
LEADERS_A_ROOT = 4  # leaders for each unit of the square root of the number of images
NEAREST = 4  # leaders that an image follows; images that follow a common leader are compared
SAME_RANKS = 0.99
BLOCK = 2048

Pairs = npt.NDArray[np.int64]


class Alike(NamedTuple):
    """Pairs of images, shape (n, 2), the smaller place first, and how alike the two are, shape (n,)."""

    pairs: Pairs
    values: Floats


def alike(thumbnails: Thumbnails, threshold: float | bool) -> Alike:
    """Return the pairs of images that show the same.

    Two images do if the cosine of their whitened fingerprints reaches ``threshold``, or the rank correlation of their
    thumbnails 0.99; overexposed images are compared by the values that aren't saturated in either. Beyond 8,192 images
    only those are compared that follow a common one of about ``4 sqrt(n)`` leaders, each image its four nearest, which
    takes time in proportion to n**1.5.

    Args:
        thumbnails: uint8 of shape (images, 32, 32).
        threshold: False finds nothing.
    """
    found = [Alike(np.empty((0, 2), dtype=np.int64), np.empty(0, dtype=np.float32))]
    if threshold is not False:
        order = np.argsort([zlib.crc32(one.tobytes()) for one in thumbnails], kind="stable")
        own = levels(thumbnails)
        for level in LEVELS:
            compared = order[own[order] >= level]
            asks = own[compared] == level
            if asks.any():
                pairs, values = _within(thumbnails[compared], asks, level, float(threshold))
                found.append(Alike(np.sort(compared[pairs], axis=1), values))
    pairs, values = np.concatenate([one.pairs for one in found]), np.concatenate([one.values for one in found])
    unique, first = np.unique(pairs, axis=0, return_index=True)
    return Alike(unique, values[first])


def _within(thumbnails: Thumbnails, asks: npt.NDArray[np.bool_], level: float, threshold: float) -> Alike:
    """Return the pairs among thumbnails, at least one of whose images asks."""
    prints = fingerprints(thumbnails, level)
    pairs, values = [np.empty((0, 2), dtype=np.int64)], [np.empty(0, dtype=np.float32)]
    for members in _neighbourhoods(prints.whitened):
        rows = members[asks[members]]
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            likeness = np.clip(prints.whitened[block] @ prints.whitened[members].T, 0, 1)
            ranks = prints.ranks[block] @ prints.ranks[members].T
            near = (likeness >= threshold) | (ranks >= SAME_RANKS)
            one, two = np.nonzero(near)
            kept = block[one] != members[two]
            one, two = one[kept], two[kept]
            pairs.append(np.stack([block[one], members[two]], axis=1))
            values.append(np.maximum(likeness[one, two], (ranks[one, two] >= SAME_RANKS) * ranks[one, two]))
    return Alike(np.concatenate(pairs), np.concatenate(values).clip(0, 1))


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
