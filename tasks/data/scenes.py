"""Scenes: images that are alike because a fixed camera took them, not because they show the same.

Shots of one scene have nearly the same thumbnails, whatever lies in it. Two marks tell a scene from copies of an image:
images so alike carry different labels, or they are a large part of the set.
"""

import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import connected_components

from tasks.data.fingerprints import Bools, Floats

NONE = -1
SAMPLE = 2048  # images among which scenes are looked for
SIMILAR = 0.9  # rank correlation of thumbnails that makes two images candidates for one scene
NEARLY_EQUAL = 0.99  # rank correlation at which copies of an image can't be told from shots of a scene
SMALLEST = 12  # images; fewer are taken for copies
MIXED = 0.1  # share of different labels among pairs of nearly equal images
LARGE = 0.2  # share of the set

Numbers = npt.NDArray[np.int64]


def scenes(ranks: Floats, labels: Numbers) -> Numbers:
    """Return the number of the scene that each image is a shot of, or ``NONE``.

    Args:
        ranks: of the thumbnails' values, unit vectors of shape (images, 1024), in an order that follows no listing.
        labels: the class of each image.
    """
    found = np.full(len(ranks), NONE, dtype=np.int64)
    some = np.arange(0, len(ranks), max(1, -(-len(ranks) // SAMPLE)))
    nearness = ranks[some] @ ranks[some].T
    clusters = connected_components(nearness >= SIMILAR, directed=False)[1]
    sizes = np.bincount(clusters)
    candidates = np.flatnonzero(sizes >= SMALLEST)
    for number in candidates:
        members = np.flatnonzero(clusters == number)
        if _is_scene(nearness[np.ix_(members, members)], labels[some[members]], len(some)):
            found[some[members]] = number
    return found if len(some) == len(ranks) or (found == NONE).all() else _spread(found, ranks, some)


def _is_scene(nearness: Floats, labels: Numbers, images: int) -> bool:
    """Return whether images that look alike are shots of one scene."""
    nearly_equal = nearness >= NEARLY_EQUAL
    pairs = np.triu(nearly_equal, 1)
    if not pairs.any():
        return False
    mixed = pairs & (labels[:, None] != labels)
    largest = np.bincount(connected_components(nearly_equal, directed=False)[1]).max()
    return bool(mixed.sum() >= MIXED * pairs.sum() or largest >= max(SMALLEST, LARGE * images))


def _spread(found: Numbers, ranks: Floats, some: Numbers) -> Numbers:
    """Return the scenes of all images: that of the sampled shot which an image is most like, if it is so at all."""
    shots = some[found[some] != NONE]
    for start in range(0, len(ranks), SAMPLE):
        nearness = ranks[start : start + SAMPLE] @ ranks[shots].T
        nearest = nearness.argmax(axis=1)
        near: Bools = nearness.max(axis=1) >= SIMILAR
        found[start : start + SAMPLE] = np.where(near, found[shots[nearest]], NONE)
    return found
