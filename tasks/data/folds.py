"""Folds: what isn't tested on, divided so that each part is validated on once."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd

from tasks.data.class_coverage import ClassCoverage, Unit
from tasks.data.split_draws import position
from tasks.data.splits import Assignment
from tasks.params import SplitParams

NO_FOLD = -1
FEW = 30  # independent images of a class, those drawn for the test among them, below which one split tells too little
MANY = 1000  # independent images outside the test, above which a rare class doesn't pay for training once a fold
MOST = 5


def number_of_folds(images: pd.DataFrame, assigned: Assignment, params: SplitParams) -> int:
    """Return into how many folds to divide what isn't tested on; 0: not at all.

    Args:
        images: columns ``label`` and ``given``, the split that the source gave.
        assigned: their splits.
        params: which may leave it to the images: five folds where a class has few, or as many as it has.
    """
    if params.folds != "auto":
        return params.divisions
    if (images["given"] == "val").any():
        return 0
    groups, splits = pd.Series(assigned.groups), pd.Series(assigned.splits)
    outside = groups[splits.isin(["train", "val"])]
    divisible = outside.groupby(images["label"]).nunique().drop(list(assigned.small), errors="ignore")
    divisible = divisible[divisible > 1]
    drawn = groups[(splits != "") & (images["given"] != "test")].groupby(images["label"]).nunique()
    if divisible.empty or drawn[divisible.index].min() >= FEW or outside.nunique() > MANY:
        return 0
    return min(int(divisible.min()), MOST)


def note_on_folds(count: int) -> str:
    """Return what a person should know where the images decided on folds."""
    return (
        f"some class has fewer than {FEW} independent images: every strategy is trained "
        f"{count} times and validated on each of {count} folds (split.folds: false validates on one split)"
    )


def divide(images: pd.DataFrame, assigned: Assignment, count: int, seed: int, earlier: Mapping[str, int]) -> list[int]:
    """Return the fold of every image that isn't held out for the test; a group is in one, the one it had before.

    Each class divides on its own, by draws; it is in every fold, or in the first ones, if it has fewer groups than
    there are folds. One that is too small for two is in none: it is trained on, whichever is validated.

    Args:
        images: columns ``sha256`` and ``label``.
        assigned: their splits.
        count: of the folds.
        seed: of the draws.
        earlier: the fold that an image had before, by its digest.
    """
    groups = _groups(images["label"], assigned)
    group_counts = Counter(label for labels in groups.values() for label in labels)
    least = images.groupby(assigned.groups)[["sha256", "label"]].min()
    drawn = {
        int(number): position(f"fold:{digest}", label, seed)
        for number, digest, label in zip(least.index, least["sha256"], least["label"], strict=True)
    }
    before = images["sha256"].map(earlier).groupby(assigned.groups).min()
    units = [_unit(labels, drawn[number], before[number], count) for number, labels in groups.items()]
    spans = {str(fold): (fold / count, (fold + 1) / count) for fold in range(count)}
    needs = {label: {str(fold): 1 for fold in range(min(count, held))} for label, held in group_counts.items()}
    places = ClassCoverage(units, spans, needs, {}).complete(needs)
    fold_of = dict(zip(groups, map(int, places), strict=True))
    return [fold_of.get(int(number), NO_FOLD) for number in assigned.groups]


def _groups(labels: pd.Series, assigned: Assignment) -> dict[int, frozenset[str]]:
    """Return the classes of every group that is divided."""
    outside = pd.Series(assigned.splits).isin(["train", "val"])
    by_group = labels[outside].groupby(assigned.groups[outside]).agg(frozenset)
    groups = {int(number): classes for number, classes in zip(by_group.index, by_group, strict=True)}
    undivided = set(assigned.small)
    while True:
        counts = Counter(label for classes in groups.values() for label in classes)
        undivided |= {label for label, count in counts.items() if count < 2}
        divided = {number: classes for number, classes in groups.items() if not classes & undivided}
        if len(divided) == len(groups):
            return groups
        groups = divided


def _unit(labels: frozenset[str], drawn: float, before: float, count: int) -> Unit:
    """Return a group in the fold that it had, or else in the one that it is drawn for."""
    known = not np.isnan(before)
    return Unit(str(int(before) if known else int(drawn * count)), labels, drawn, reluctance=int(known))
