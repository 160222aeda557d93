"""Near-duplicates: pairs of images that show the same, found without comparing each with each."""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tasks.arrays import Flags, Integers, Pairs, Singles, Thumbnails
from tasks.data.fingerprints import LEVELS, Fingerprints, exposure_levels, fingerprints
from tasks.data.scenes import NO_SCENE, find_scenes

EXACT = 8192  # up to so many images, each is compared with each
LEADERS_A_ROOT = 4  # leaders for each unit of the square root of the number of images
NEAREST = 4  # leaders that an image follows; images that follow a common leader are compared
RANKS_CLOSER = 10  # times that ranks have to be closer to 1 than whitened fingerprints
ROUNDING = 1e-6  # of the products of identical vectors
BLOCK = 2048


class NearDuplicates(NamedTuple):
    """Pairs of images that show the same.

    Attributes:
        pairs: places of images, shape (n, 2), the smaller first.
        similarities: how alike the two are, from 0 to 1, shape (n,).
        scenes: the scene that each image is a shot of, shape (images,), or ``NO_SCENE``.
    """

    pairs: Pairs
    similarities: Singles
    scenes: Integers


def find_near_duplicates(
    thumbnails: Thumbnails, threshold: float | bool, labels: Integers | None = None
) -> NearDuplicates:
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
    parts = [NearDuplicates(*_no_pairs(), np.full(count, NO_SCENE))]
    if threshold is not False:
        order = np.argsort([zlib.crc32(thumbnail.tobytes()) for thumbnail in thumbnails], kind="stable")
        levels = exposure_levels(thumbnails)
        for level in LEVELS:
            compared = order[levels[order] >= level]
            asks = levels[compared] == level
            if asks.any():
                part = _within(thumbnails[compared], classes[compared], asks, level, float(threshold))
                scenes = np.full(count, NO_SCENE)
                scenes[compared[asks]] = part.scenes[asks]
                parts.append(NearDuplicates(np.sort(compared[part.pairs], axis=1), part.similarities, scenes))
    pairs = np.concatenate([part.pairs for part in parts])
    similarities = np.concatenate([part.similarities for part in parts])
    unique, first = np.unique(pairs, axis=0, return_index=True)
    return NearDuplicates(unique, similarities[first], np.max([part.scenes for part in parts], axis=0))


def _no_pairs() -> tuple[Pairs, Singles]:
    return np.empty((0, 2), dtype=np.int64), np.empty(0, dtype=np.float32)


def _within(thumbnails: Thumbnails, classes: Integers, asks: Flags, level: float, threshold: float) -> NearDuplicates:
    """Return the pairs among thumbnails, at least one of whose images asks."""
    prints = fingerprints(thumbnails, level)
    scenes = find_scenes(prints.ranks, classes)
    parts = [] if (scenes != NO_SCENE).all() else [_compared(prints, classes, asks, threshold, scenes)]
    for scene in np.unique(scenes[scenes != NO_SCENE]):
        shots = np.flatnonzero(scenes == scene)
        of_scene = fingerprints(thumbnails[shots], level)
        without_ranks = Fingerprints(np.zeros_like(of_scene.ranks), of_scene.whitened)
        no_scenes = np.full(len(shots), NO_SCENE)
        pairs, similarities = _compared(without_ranks, classes[shots], asks[shots], threshold, no_scenes)
        parts.append((shots[pairs], similarities))
    return NearDuplicates(
        np.concatenate([pairs for pairs, _ in parts]),
        np.concatenate([similarities for _, similarities in parts]),
        scenes,
    )


def _compared(
    prints: Fingerprints, classes: Integers, asks: Flags, threshold: float, scenes: Integers
) -> tuple[Pairs, Singles]:
    """Return the pairs of near fingerprints, but those within a scene, and how near they are."""
    least, least_ranks = min(threshold, 1 - ROUNDING), min(1 - (1 - threshold) / RANKS_CLOSER, 1 - ROUNDING)
    no_pairs, nothing = _no_pairs()
    pairs, similarities = [no_pairs], [nothing]
    for members in _neighbourhoods(prints.whitened):
        rows = members[asks[members]]
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            cosines = np.clip(prints.whitened[block] @ prints.whitened[members].T, 0, 1)
            ranks = prints.ranks[block] @ prints.ranks[members].T
            by_ranks = (ranks >= least_ranks) & (classes[block][:, None] == classes[members])
            near = (cosines >= least) | by_ranks
            near &= (scenes[block][:, None] == NO_SCENE) | (scenes[block][:, None] != scenes[members])
            i, j = np.nonzero(near)
            different = block[i] != members[j]
            i, j = i[different], j[different]
            pairs.append(np.stack([block[i], members[j]], axis=1))
            similarities.append(np.maximum(cosines[i, j], by_ranks[i, j] * ranks[i, j]))
    return np.concatenate(pairs), np.concatenate(similarities).clip(0, 1)


def _neighbourhoods(vectors: Singles) -> Iterator[Integers]:
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
