"""Leaks: images that show the same, or are of one group, in different splits that the source gave."""

import numpy as np
import pandas as pd

from tasks.arrays import Pairs
from tasks.data.near_duplicates import NearDuplicates
from tasks.data.quarantine import LEAK, Reasons
from tasks.data.splits import SPLITS


def find_leaks(images: pd.DataFrame, near: NearDuplicates) -> pd.DataFrame:
    """Return the pairs that show the same, or are of one group of the source, and lie in different splits.

    Args:
        images: columns ``path``, ``split``, ``sha256`` and ``group``; those without a split are left out.
        near: pairs of places that show the same.
    """
    same, grouped = _across_splits(images, "sha256"), _across_splits(images, "group")
    pairs = np.sort(np.concatenate([near.pairs, same, grouped]), axis=1)
    similarities = np.concatenate([near.similarities, np.ones(len(same)), np.ones(len(grouped))])
    first, second = (images.loc[pairs[:, side], ["path", "split"]].reset_index(drop=True) for side in (0, 1))
    leaks = pd.concat([first, second.set_axis(["twin", "twin_split"], axis=1)], axis=1).assign(alike=similarities)
    apart = (leaks["split"] != leaks["twin_split"]) & (leaks["split"] != "") & (leaks["twin_split"] != "")
    return leaks[apart].drop_duplicates(["path", "twin"]).reset_index(drop=True)


def repairs(images: pd.DataFrame, leaks: pd.DataFrame) -> Reasons:
    """Return what to leave out so that nothing leaks: of each pair the image whose split comes first in ``SPLITS``."""
    places = pd.Series(images.index, index=images["path"])
    dropped: Reasons = {}
    for path, its_split, twin, twin_split in leaks[["path", "split", "twin", "twin_split"]].astype(str).to_numpy():
        sides = [(path, its_split), (twin, twin_split)]
        (loser, _), (winner, split) = sorted(sides, key=lambda side: SPLITS.index(side[1]))
        reason = f"shows the same, or is of the same group, as {winner} in the {split} split"
        dropped[int(places[loser])] = (LEAK, reason)
    return dropped


def remaining(leaks: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return the leaks between images that are used, the most alike first."""
    leaks = leaks.sort_values(["alike", "path", "twin"], ascending=[False, True, True])
    return leaks[leaks["path"].isin(table["path"]) & leaks["twin"].isin(table["path"])].reset_index(drop=True)


def _across_splits(images: pd.DataFrame, column: str) -> Pairs:
    """Return, of images with the same value in different splits, each with the first of every other split."""
    named = images[images[column].duplicated(keep=False) & (images[column] != "")]
    pairs = []
    for _, members in named.groupby(column):
        first = members.groupby("split").head(1)
        for place, split in zip(members.index, members["split"], strict=True):
            pairs += [(place, int(other)) for other in first.index[first["split"] != split]]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)
