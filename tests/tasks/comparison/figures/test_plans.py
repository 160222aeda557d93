"""The thaw line can be seen."""

import numpy as np

from tasks.comparison.figures.plans import draw_plans
from tests.tasks.comparison.conftest import MakeEntrant, comparison_of, ranked_of


def test_plans_show_what_is_frozen_when(entrant: MakeEntrant) -> None:
    """A panel a strategy, its parts from the image upwards; cells without a rate are those of frozen phases."""
    comparison = comparison_of(ranked_of([entrant("full", 2.0), entrant("head_only", 1.9, seed=1)]))
    panels = [axes for figure in draw_plans(comparison).figures for axes in figure.axes]
    assert [axes.get_title(loc="left").removeprefix("★ ") for axes in panels] == list(comparison.strategies)
    for axes, result in zip(panels, comparison.strategies.values(), strict=True):
        assert [label.get_text() for label in axes.get_yticklabels()] == [part.name for part in result.parts]
        (mesh,) = axes.collections
        rates = np.ma.filled(np.ma.masked_invalid(mesh.get_array()), 0).reshape(len(result.parts), len(result.phases))
        assert rates.tolist() == [[rate or 0 for rate in part.rates] for part in result.parts]
        assert axes.get_xlim() == (0, sum(result.phases))
