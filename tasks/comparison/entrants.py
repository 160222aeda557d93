"""The strategies as they enter a comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tasks.comparison.schema import OnShare, Serving
from tasks.evaluation.robustness import Robustness


@dataclass(frozen=True)
class Repeated:
    """A strategy's run with another seed, as in ``Entrant``."""

    run: Mapping[str, Any]
    val: pd.DataFrame
    test: pd.DataFrame


@dataclass(frozen=True)
class Entrant:
    """A strategy that ran: its settings, its costs, and its predictions on both held-out splits.

    Attributes:
        run: what the fine-tuning recorded of itself (``run.json``).
        val, test: prediction tables, in the same order of images for every entrant; ``val`` of all folds, if any.
        serving: what an answer costs.
        robustness: its scores on corrupted images, if they were asked for.
        seeds: the same strategy with other seeds, as many for every entrant.
        shares: the same strategy on shares of the training split.
    """

    name: str
    run: Mapping[str, Any]
    history: list[dict[str, float]]
    val: pd.DataFrame
    test: pd.DataFrame
    serving: Serving
    robustness: Robustness | None = None
    seeds: Sequence[Repeated] = ()
    shares: Sequence[OnShare] = ()

    @property
    def first_val(self) -> pd.DataFrame:
        """The predictions for the validation images that the history was measured on: with folds, of the first."""
        first: pd.DataFrame = self.val[self.val["repeat"] == self.val["repeat"].iloc[0]]
        return first

    def tables(self, split: str) -> list[pd.DataFrame]:
        """Return the predictions of every seed for a split."""
        return [getattr(run, split) for run in (self, *self.seeds)]
