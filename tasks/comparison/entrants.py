"""The strategies as they enter a comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tasks.comparison.schema import OnShare, Stopped


@dataclass(frozen=True)
class Repeated:
    """A strategy's run with another seed, as in ``Entrant``."""

    run: Mapping[str, Any]
    val: pd.DataFrame
    test: pd.DataFrame | None


@dataclass(frozen=True)
class Entrant:
    """A strategy that ran: its settings, its costs, and its predictions on both held-out splits.

    Attributes:
        run: what the fine-tuning recorded of itself (``run.json``).
        val, test: prediction tables, in the same order of images for every entrant; ``val`` of all folds, if any. One
            that lost the race has no ``test``, and of ``val`` perhaps the first fold alone.
        seeds: the same strategy with other seeds, as many for every entrant that did not lose the race.
        shares: the same strategy on shares of the training split.
        network: that it was fine-tuned from, for people.
        milliseconds: in which that one answers an image, as it was screened; 0 where no other competes.
    """

    name: str
    run: Mapping[str, Any]
    history: list[dict[str, float]]
    val: pd.DataFrame
    test: pd.DataFrame | None
    seeds: Sequence[Repeated] = ()
    shares: Sequence[OnShare] = ()
    network: str = ""
    milliseconds: float = 0.0

    def cost(self, name: str) -> float:
        """Return one of the costs that ``compare.cheaper`` names."""
        return self.milliseconds if name == "milliseconds" else float(self.run[name])

    @property
    def stopped(self) -> Stopped | None:
        """Where and why the race stopped it, if it did."""
        return Stopped(**self.run["stopped"]) if self.run["stopped"] else None

    @property
    def first_val(self) -> pd.DataFrame:
        """The predictions for the validation images that the history was measured on: with folds, of the first."""
        first: pd.DataFrame = self.val[self.val["repeat"] == self.val["repeat"].iloc[0]]
        return first

    def tables(self, split: str) -> list[pd.DataFrame]:
        """Return the predictions of every seed for a split."""
        tables = [getattr(run, split) for run in (self, *self.seeds)]
        return [table for table in tables if table is not None]
