"""Every class in every split, if it has enough images for that; all of it to train on, if it hasn't."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tasks.data.class_coverage import ClassCoverage, Unit

SMALLEST = 3  # independent images that a class needs to be in every split


@dataclass(frozen=True)
class DrawnSplits:
    """Images in the splits that they were drawn for.

    Attributes:
        labels: of every image.
        groups: places of the images of each group that may move.
        independent: independent images of each class.
        was: where each image was before, or empty.
        position: returns the draw of a group.
    """

    labels: Sequence[str]
    groups: Sequence[list[int]]
    independent: Mapping[str, int]
    was: Sequence[str]
    position: Callable[[Sequence[int]], float]

    def completed(
        self, splits: Sequence[str], spans: Mapping[str, tuple[float, float]], wanted: Mapping[str, int]
    ) -> list[str]:
        """Return the split of every image, with all of small classes trained on, and all others wherever wanted.

        Args:
            splits: as they were drawn.
            spans: the draws that lead to each split that images are drawn for.
            wanted: independent images that a class has to have in each of them.
        """
        completed = self._with_small_classes_trained_on(splits)
        enough = [label for label in self.independent if self._is_enough(label)]
        present = set(zip(self.labels, completed, strict=True))
        if max(wanted.values()) == 1 and present >= {(label, split) for label in enough for split in wanted}:
            return completed
        units = [self._unit(group, completed) for group in self.groups]
        movable = {i for group in self.groups for i in group}
        fixed = Counter(pair for i, pair in enumerate(zip(self.labels, completed, strict=True)) if i not in movable)
        needs = {label: wanted if label in enough else {"train": 1} for label in self.independent}
        places = ClassCoverage(units, spans, needs, fixed).complete(enough)
        for group, split in zip(self.groups, places, strict=True):
            _put(group, split, completed)
        return completed

    def small(self, splits: Sequence[str]) -> tuple[str, ...]:
        """Return the classes that are too small to be in every split, and of which all is trained on."""
        held_out = {label for label, split in zip(self.labels, splits, strict=True) if split not in {"train", ""}}
        return tuple(
            sorted(label for label in self.independent if not self._is_enough(label) and label not in held_out)
        )

    def _is_enough(self, label: str) -> bool:
        return self.independent[label] >= SMALLEST

    def _with_small_classes_trained_on(self, splits: Sequence[str]) -> list[str]:
        """Train on small classes; what of them was held out before stays so, if there is something to train on."""
        changed = list(splits)
        groups_of: dict[str, list[list[int]]] = {label: [] for label in self.independent if not self._is_enough(label)}
        for group in self.groups:
            for label in {self.labels[i] for i in group} & set(groups_of):
                groups_of[label].append(group)
        for label, groups in sorted(groups_of.items()):
            trained_on = (label, "train") in set(zip(self.labels, changed, strict=True))
            was = [[self.was[i] for i in group if self.labels[i] == label] for group in groups]
            lost = not trained_on and any(map(any, was))
            for group in groups:
                if lost or not any(self.was[i] for i in group):
                    _put(group, "train", changed)
        return changed

    def _unit(self, group: Sequence[int], splits: Sequence[str]) -> Unit:
        labels = frozenset(self.labels[i] for i in group)
        return Unit(
            splits[group[0]],
            labels,
            self.position(group),
            self._reluctance(group, splits),
            is_last=not all(self._is_enough(label) for label in labels),
        )

    def _reluctance(self, group: Sequence[int], splits: Sequence[str]) -> int:
        """Return how late a group moves: new ones first, then those held out before, then those trained on before."""
        if not any(self.was[i] for i in group):
            return 0
        return 2 if splits[group[0]] == "train" else 1


def _put(group: Sequence[int], split: str, splits: list[str]) -> None:
    for i in group:
        splits[i] = split
