"""Every class everywhere: where a class is lacking, the unit that was drawn nearest to there is brought."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

MOST_TRIED = 500  # moves, to fill one gap

Needs = Mapping[str, Mapping[str, int]]  # units that a class has to have in each place, by class


@dataclass(frozen=True)
class Unit:
    """Images that stay together.

    Attributes:
        place: where they were drawn to.
        labels: their classes.
        position: their draw, from 0 to 1.
        reluctance: of units that take no others along, those with less are moved first.
        is_last: whether it moves only where no other can.
    """

    place: str
    labels: frozenset[str]
    position: float
    reluctance: int = 0
    is_last: bool = False


class ClassCoverage:
    """Units in their places, some of which move so that every class has what it needs in each.

    No move takes from a class what it needs where it is: another unit takes the place before, if there is one.
    """

    def __init__(
        self,
        units: Sequence[Unit],
        spans: Mapping[str, tuple[float, float]],
        needs: Needs,
        fixed: Mapping[tuple[str, str], int],
    ) -> None:
        """Take units as they were drawn.

        Args:
            units: what may be moved.
            spans: the draws that lead to each place that units may be moved to; the first place is filled first.
            needs: units of a class that each of these places has to have.
            fixed: what can't be moved: how often a class is in a place.
        """
        self.places = [unit.place for unit in units]
        self._units, self._spans, self._needs = units, spans, needs
        self._held = Counter(fixed)
        self._tries_left = 0
        self._units_of: dict[str, list[int]] = {}
        for number, unit in enumerate(units):
            for label in unit.labels:
                self._held[label, unit.place] += 1
                self._units_of.setdefault(label, []).append(number)

    def complete(self, labels: Iterable[str]) -> list[str]:
        """Move as few units as are needed so that some classes have what they need; return the places of all."""
        for place in self._spans:
            for label in sorted(labels):
                self._tries_left = MOST_TRIED
                while self._lacks(label, place) and self._bring(label, place, frozenset()):
                    pass
        return self.places

    def _bring(self, label: str, place: str, moving: frozenset[int]) -> bool:
        """Move a unit of a class to a place, and others to where it was needed; return whether that can be done."""
        candidates = [i for i in self._units_of.get(label, ()) if self.places[i] != place and i not in moving]
        for i in sorted(candidates, key=lambda i: self._cost(i, label, place)):
            if not self._tries_left:
                break
            self._tries_left -= 1
            before, here = (self.places.copy(), self._held.copy()), self.places[i]
            self._move(i, place)
            if all(
                not self._lacks(left, here) or self._bring(left, here, moving | {i})
                for left in sorted(self._units[i].labels)
            ):
                return True
            self.places, self._held = before
        return False

    def _lacks(self, label: str, place: str, units: int = 0) -> bool:
        """Return whether a class has less than it needs in a place, without some of the units that it has there."""
        return self._held[label, place] - units < self._needs.get(label, {}).get(place, 0)

    def _move(self, i: int, place: str) -> None:
        for label in self._units[i].labels:
            self._held[label, self.places[i]] -= 1
            self._held[label, place] += 1
        self.places[i] = place

    def _cost(self, i: int, label: str, place: str) -> tuple[bool, bool, int, float, float, float]:
        """Return what a unit of a class costs to move: others that move with it, what it leaves, how far it goes."""
        unit, here, (low, high) = self._units[i], self.places[i], self._spans[place]
        takes_others = any(self._lacks(lacking, here, units=1) for lacking in unit.labels)
        fullness = self._held[label, here] / self._width(here)
        distance = max(low - unit.position, unit.position - high, 0.0)
        return unit.is_last, takes_others, unit.reluctance, -fullness, distance, unit.position

    def _width(self, place: str) -> float:
        low, high = self._spans.get(place, (0.0, 1.0))
        return high - low
