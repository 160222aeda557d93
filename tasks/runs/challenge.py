"""Champion and challenger on the same test images, each reading the files as it reads them when it serves."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from tasks import layout
from tasks.arrays import Features, Flags, Floats
from tasks.comparison.gate import Answered
from tasks.data import sources
from tasks.data.sources.label_spelling import spelt_as
from tasks.evaluation import drift as drifting
from tasks.evaluation.drift import Drift
from tasks.evaluation.predictions import targets_of
from tasks.params import DataParams
from tasks.runs.links import links_to
from tasks.runs.prepared import PreparedData
from tasks.serving.champion import Champion
from tasks.serving.provenance import Origin
from tasks.serving.scores import blocks

TIMED_IMAGES = 16
TIMES = 10  # of which the shortest counts: the others were held up


@dataclass(frozen=True)
class Contender:
    """A registered version: what answers, and what it was made from."""

    version: str
    champion: Champion
    origin: Origin

    @classmethod
    def read(cls, version: str) -> "Contender":
        """Read a version of the registry.

        Raises:
            UserError: it isn't there, or can't be used here.
        """
        from tasks.tracking import registry

        folder = registry.folder_of(registry.version_uri(version))
        return cls(version, Champion.read(folder), Origin.read(folder))


@dataclass(frozen=True)
class Contest:
    """What champion and challenger said.

    Attributes:
        answered: of the test images that count.
        left_out: test images that the champion was trained or validated on, or that show the same as one of these.
        unanswered: test images that one of the two can't read.
        drift: of the images that the champion has never seen; None where it isn't recorded what it has seen.
    """

    answered: Answered
    left_out: int
    unanswered: int
    drift: Drift | None


def contest(champion: Contender, challenger: Contender, data: PreparedData, params: DataParams) -> Contest:
    """Let both answer the test split, but for the images that the champion was made from.

    Splits are drawn from the images' content, and an image that was in the manifest stays where it was; but images
    that turn out to belong together move, and so do many with another ``split``, with splits that the source gives
    anew, or without the earlier manifest. So they are looked for by what the champion recorded of itself.
    """
    root = sources.find(params, layout.WORK).root
    champion, challenger = (_following_links(side, root, params) for side in (champion, challenger))
    tested = data.table[data.table["split"] == "test"]
    fresh = unseen(data.table, champion.origin.seen).loc[lambda table: table["split"] == "test"]
    classes = sorted({*data.classes, *spelt_as(data.classes, champion.champion.facts.classes)})
    names = fresh["path"].tolist()
    both = [_probabilities(side.champion, root, names, classes) for side in (champion, challenger)]
    usable = np.isfinite(both[0][:, 0]) & np.isfinite(both[1][:, 0])
    counted = fresh[usable]
    answered = Answered(
        classes=classes,
        targets=targets_of(counted, classes),
        champion=both[0][usable],
        challenger=both[1][usable],
        parts=_parts(counted, champion.origin),
        seconds=_seconds([champion.champion, challenger.champion], root, counted["path"].tolist()[:TIMED_IMAGES]),
    )
    drift = _drift(champion, data.table, root) if champion.origin.is_known else None
    return Contest(answered, len(tested) - len(fresh), int((~usable).sum()), drift)


def _following_links(side: Contender, root: Path, params: DataParams) -> Contender:
    return replace(side, champion=replace(side.champion, links_to=links_to(root, params)))


def unseen(table: pd.DataFrame, seen: frozenset[str]) -> pd.DataFrame:
    """Return the rows of a manifest that are neither known by their content nor belong to a group with one that is."""
    known = table["sha256"].isin(seen)
    groups = set(table.loc[known, "group"]) - {""}
    return table[~known & ~table["group"].isin(groups)]


def _parts(rows: pd.DataFrame, origin: Origin) -> dict[str, Flags]:
    """Return the subsets; and the images that the champion was tested on, which what is new must not outweigh."""
    subsets = sorted(set(rows["subset"]) - {""})
    parts = {f"the group '{subset}'": (rows["subset"] == subset).to_numpy() for subset in subsets}
    earlier = rows["sha256"].isin(origin.tested).to_numpy()
    return parts | {"the earlier test images": earlier, "the new test images": ~earlier} if origin.tested else parts


def _probabilities(champion: Champion, root: Path, names: Sequence[str], classes: Sequence[str]) -> Floats:
    """Return probabilities of all classes, shape (names, classes): 0 of one it doesn't know, NaN of no answer.

    What the champion knows as several classes that are one by now counts together.
    """
    known_as = spelt_as(classes, champion.facts.classes)
    joins = np.array([[label == name for name in classes] for label in known_as], dtype=np.float64)
    tables = []
    for block, problems, pixels in blocks(champion, root, names):
        probabilities = np.full((len(block), len(classes)), np.nan)
        usable = np.array([not problem for problem in problems])
        if usable.any():
            probabilities[usable] = champion.answer(pixels).probabilities @ joins
        tables.append(probabilities)
    return np.concatenate(tables) if tables else np.empty((0, len(classes)))


def _features(champion: Champion, root: Path, names: Sequence[str]) -> Features:
    read = [pixels for _, _, pixels in blocks(champion, root, names) if len(pixels)]
    answered = [champion.answer(pixels).features for pixels in read]
    return np.concatenate(answered) if answered else np.empty((0, champion.known.shape[1]), dtype=np.float32)


def _seconds(champions: Sequence[Champion], root: Path, names: Sequence[str]) -> tuple[float, float]:
    """Return the seconds an image, measured in turn."""
    pixels = [read for champion in champions for _, _, read in blocks(champion, root, names)]
    shortest = [np.inf, np.inf]
    for _ in range(TIMES if names else 0):
        for place, (champion, images) in enumerate(zip(champions, pixels, strict=True)):
            start = time.perf_counter()
            champion.answer(images)
            shortest[place] = min(shortest[place], time.perf_counter() - start)
    before, now = (seconds / max(1, len(names)) for seconds in shortest)
    return before, now


def _drift(champion: Contender, table: pd.DataFrame, root: Path) -> Drift:
    """Hold the images that the champion has never seen against those that it was validated on."""
    origin = champion.origin
    new = unseen(table, origin.seen | origin.tested)
    some = new.sample(min(len(new), drifting.IMAGES), random_state=0)
    known = origin.held_out if len(origin.held_out) >= drifting.SMALLEST else champion.champion.known
    counts = {str(label): int(count) for label, count in new["label"].value_counts().items()}
    features = _features(champion.champion, root, some["path"].tolist())
    known_counts: Counter[str] = Counter()
    for label, count in zip(spelt_as(sorted(counts), list(origin.classes)), origin.classes.values(), strict=True):
        known_counts[label] += count
    return drifting.drift(known, features, known_counts, counts)
