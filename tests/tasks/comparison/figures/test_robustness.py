"""Every strategy's scores on corrupted images are drawn, on one scale."""

import io

import numpy as np
import pytest

from tasks.comparison.figures.robustness import draw_robustness
from tasks.evaluation.corruptions import KINDS, SEVERITIES
from tasks.evaluation.robustness import Robustness
from tests.tasks.comparison.figures.test_reliability import labelled


def measured(clean: float | None) -> Robustness:
    """Return scores that fall from kind to kind and from severity to severity."""
    scores: dict[str, list[float | None]] = {
        kind: [None if clean is None else clean - 0.02 * place * severity for severity in SEVERITIES]
        for place, kind in enumerate(KINDS, 1)
    }
    mean, drop = (None, None) if clean is None else (clean - 0.18, 0.2)
    return Robustness(images=100, clean=clean, scores=scores, mean=mean, relative_drop=drop)


@pytest.mark.parametrize("strategies", [1, 3, 5])
def test_every_strategy_has_a_panel_of_every_kind(strategies: int) -> None:
    """Each line starts at the score of the images as they are, and goes on by severity."""
    by_name = {f"strategy $_{i}$": measured(0.9 - 0.01 * i) for i in range(strategies)}
    panels = draw_robustness(by_name, "AUROC")
    assert len(panels.figures) == strategies
    for figure, (name, result) in zip(panels.figures, by_name.items(), strict=True):
        (axes,) = figure.axes
        assert axes.get_title(loc="left").replace("\\", "") == name
        lines = labelled(axes)
        assert list(lines) == list(KINDS)
        for kind, (xs, ys) in lines.items():
            assert xs == [0, *SEVERITIES]
            assert ys == [result.clean, *result.scores[kind]]
        assert [label.get_text() for label in axes.get_xticklabels() if label.get_visible()] == [
            str(severity) for severity in (0, *SEVERITIES)
        ]
        assert [text.get_text() for text in axes.texts] == ["−20.0% on average"]
        figure.savefig(io.BytesIO())
    assert len({figure.axes[0].get_ylim() for figure in panels.figures}) == 1
    assert panels.legend is not None
    (legend,) = panels.legend.legends
    assert panels.legend.bbox.containsx(legend.get_window_extent().x0)
    assert panels.legend.bbox.containsx(legend.get_window_extent().x1)


def test_undefined_scores_leave_a_panel_empty() -> None:
    """A metric that the images leave undefined is no line, and no figure of what is lost."""
    panels = draw_robustness({"full": measured(0.9), "odd": measured(None)}, "AUROC")
    (axes,) = panels.figures[1].axes
    assert all(np.isnan(line.get_ydata()).all() for line in axes.lines)
    assert not axes.texts
    panels.figures[1].savefig(io.BytesIO())
