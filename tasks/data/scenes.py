"""Scenes: images that are alike because a fixed camera took them, not because they show the same.

Shots of one scene have nearly the same thumbnails, whatever lies in it. Two marks tell a scene from copies of an image:
images so alike carry different labels, or they are a large part of the set.
"""

import numpy as np
from scipy.sparse.csgraph import connected_components

from tasks.arrays import Flags, Integers, Singles

NO_SCENE = -1
SAMPLE = 2048  # images among which scenes are looked for
SIMILAR = 0.9  # rank correlation of thumbnails that makes two images candidates for one scene
NEARLY_EQUAL = 0.99  # rank correlation at which copies of an image can't be told from shots of a scene
SMALLEST = 12  # images; fewer are taken for copies
MIXED = 0.1  # share of different labels among pairs of nearly equal images
LARGE = 0.2  # share of the set


def find_scenes(ranks: Singles, labels: Integers) -> Integers:
    """Return the number of the scene that each image is a shot of, or ``NO_SCENE``.

    Args:
        ranks: of the thumbnails' values, unit vectors of shape (images, 1024), in an order that follows no listing.
        labels: the class of each image.
    """
    scenes = np.full(len(ranks), NO_SCENE, dtype=np.int64)
    sample = np.arange(0, len(ranks), max(1, -(-len(ranks) // SAMPLE)))
    nearness = ranks[sample] @ ranks[sample].T
    clusters = connected_components(nearness >= SIMILAR, directed=False)[1]
    sizes = np.bincount(clusters)
    candidates = np.flatnonzero(sizes >= SMALLEST)
    for number in candidates:
        members = np.flatnonzero(clusters == number)
        if _is_scene(nearness[np.ix_(members, members)], labels[sample[members]], len(sample)):
            scenes[sample[members]] = number
    if len(sample) == len(ranks) or (scenes == NO_SCENE).all():
        return scenes
    return _spread(scenes, ranks, sample)


def _is_scene(nearness: Singles, labels: Integers, images: int) -> bool:
    """Return whether images that look alike are shots of one scene."""
    nearly_equal = nearness >= NEARLY_EQUAL
    pairs = np.triu(nearly_equal, 1)
    if not pairs.any():
        return False
    mixed = pairs & (labels[:, None] != labels)
    largest = np.bincount(connected_components(nearly_equal, directed=False)[1]).max()
    return bool(mixed.sum() >= MIXED * pairs.sum() or largest >= max(SMALLEST, LARGE * images))


def _spread(scenes: Integers, ranks: Singles, sample: Integers) -> Integers:
    """Return the scenes of all images: that of the sampled shot which an image is most like, if it is so at all."""
    shots = sample[scenes[sample] != NO_SCENE]
    for start in range(0, len(ranks), SAMPLE):
        nearness = ranks[start : start + SAMPLE] @ ranks[shots].T
        nearest = nearness.argmax(axis=1)
        near: Flags = nearness.max(axis=1) >= SIMILAR
        scenes[start : start + SAMPLE] = np.where(near, scenes[shots[nearest]], NO_SCENE)
    return scenes
