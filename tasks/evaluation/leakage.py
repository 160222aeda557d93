"""How much better a random split would have made results look, measured on frozen features."""

from collections.abc import Sequence
from typing import Any

from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from tasks.arrays import Features, Integers
from tasks.evaluation.probes import Pretence, each_in_a_group

DRAWS = 20
PROBES: dict[str, Any] = {
    "nearest neighbour": lambda: make_pipeline(Normalizer(), KNeighborsClassifier(1)),
    "linear probe": lambda: make_pipeline(StandardScaler(), RidgeClassifier(alpha=100.0)),
}


def pretences(
    features: Features, targets: Integers, groups: Sequence[str], held_out: float, seed: int
) -> list[Pretence]:
    """Return what probes reach on splits that keep groups whole, and on splits that don't.

    Args:
        features: shape (images, features).
        targets: classes of the images.
        groups: of the images; empty for an image that is in none.
        held_out: share of the images that is held out.
        seed: of the draws, which are the same for every probe.
    """
    single = each_in_a_group(groups)
    if len(set(single)) < 2:
        return []
    ways = {
        "grouped": list(
            GroupShuffleSplit(DRAWS, test_size=_count(len(set(single)), held_out), random_state=seed).split(
                features, groups=single
            )
        ),
        "random": list(ShuffleSplit(DRAWS, test_size=_count(len(single), held_out), random_state=seed).split(features)),
    }
    return [
        Pretence(
            name,
            **{way: [_accuracy(make(), features, targets, *draw) for draw in draws] for way, draws in ways.items()},
        )
        for name, make in PROBES.items()
    ]


def _count(of: int, share: float) -> int:
    """Return how many to hold out, so that something is left on both sides."""
    return min(max(1, round(share * of)), of - 1)


def _accuracy(probe: Any, features: Features, targets: Integers, train: Integers, held_out: Integers) -> float:
    if len(set(targets[train].tolist())) < 2:
        return float((targets[held_out] == targets[train][0]).mean())
    fitted = probe.fit(features[train], targets[train])
    return float((fitted.predict(features[held_out]) == targets[held_out]).mean())
