"""Images that belong together: pairs of them, and the groups that pairs make."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tasks.arrays import Flags, Integers, Pairs


def components(count: int, pairs: Pairs) -> Integers:
    """Return the number of the connected component that each of ``count`` images is in; pairs have shape (n, 2)."""
    pairs = pairs.reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def linked_pairs(images: pd.DataFrame, pairs: Pairs) -> Pairs:
    """Return pairs that join all images which belong together: by what they show, by group, by content.

    Args:
        images: columns ``group`` and ``sha256``, rows under their places; pairs with others are left out.
        pairs: places of images that show the same.
    """
    inside = np.isin(pairs, images.index).all(axis=1)
    return np.concatenate([pairs[inside], _pairs_of_equal(images["group"]), _pairs_of_equal(images["sha256"])])


def members(groups: Integers, chosen: Flags) -> list[list[int]]:
    """Return the places of the chosen images of each group, groups in the order of their numbers."""
    order = np.flatnonzero(chosen)
    order = order[np.argsort(groups[order], kind="stable")]
    cuts = np.flatnonzero(np.diff(groups[order])) + 1
    return [part.tolist() for part in np.split(order, cuts) if len(part)]


def _pairs_of_equal(values: pd.Series) -> Pairs:
    """Return pairs that join all places with the same value; empty text is equal to nothing."""
    names = values[values != ""]
    previous = names.index.to_series().groupby(names.to_numpy()).shift()
    joined = previous.dropna()
    return np.stack([joined.to_numpy(dtype=np.int64), joined.index.to_numpy(dtype=np.int64)], axis=1)
