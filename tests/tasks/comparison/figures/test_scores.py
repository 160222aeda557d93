"""Scores and costs are drawn where they belong, and can be read."""

import itertools

import numpy as np
from matplotlib.colors import to_hex

from tasks.comparison.figures.scores import draw_costs, draw_scores
from tests.tasks.comparison.conftest import MakeEntrant, comparison_of, ranked_of


def test_the_legend_has_the_colours_of_the_points(entrant: MakeEntrant) -> None:
    """Validation and test scores are drawn in the colours that the legend gives them."""
    entrants = [entrant("full", 2.0), entrant("head_only", 1.9, seed=1), entrant("scratch", 0.1, start="random")]
    comparison = comparison_of(ranked_of(entrants))
    (axes,) = draw_scores(comparison).axes
    legend = axes.get_legend()
    assert legend is not None
    colours = {
        text.get_text(): to_hex(handle.get_color())  # type: ignore[union-attr]
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    drawn = {}
    for line in axes.lines:
        xs, ys = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        if len(xs) == 1:
            drawn[round(ys[0]), float(xs[0])] = to_hex(line.get_color())
    for row, result in enumerate(comparison.strategies.values()):
        for label, value in (("validation", result.val.auroc), ("test", result.test.auroc)):
            assert value is not None
            assert drawn[row, value] == colours[label]
    assert len(set(colours.values())) == 2


def test_labels_of_costs_cover_nothing(entrant: MakeEntrant) -> None:
    """Strategies that cost and score nearly the same have labels that can be read all the same."""
    alike = [entrant(f"strategy_{i}", 1.0, 500 + i, 10.0 + i / 10, seed=i // 3) for i in range(7)]
    figure = draw_costs(comparison_of(ranked_of(alike)))
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert len(boxes) == len(alike)
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)
    assert not any(box.overlaps(other) for box, other in itertools.combinations(boxes, 2))
