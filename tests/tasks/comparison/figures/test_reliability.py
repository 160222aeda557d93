"""The pictures show the figures that they were given."""

import io

import numpy as np
import pytest
from matplotlib.axes import Axes
from scipy.special import softmax

from tasks.comparison.reliability_figures import reliability, robustness
from tasks.evaluation import calibration
from tasks.evaluation.corruptions import KINDS, SEVERITIES, Kind
from tasks.evaluation.metrics import Floats, Integers, expected_calibration_error
from tasks.evaluation.robustness import Robustness


def overconfident(images: int = 400) -> tuple[Integers, Floats]:
    """Return targets, and probabilities that are too sure of them."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, images)
    return targets, softmax(3 * (np.eye(3)[targets] + rng.normal(size=(images, 3))), axis=1)


def labelled(axes: Axes) -> dict[str, tuple[list[float], list[float]]]:
    """Return the points of every line that the legend names."""
    handles, labels = axes.get_legend_handles_labels()
    lines = [handle[0] if isinstance(handle, tuple) else handle for handle in handles]
    return {
        label: (np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist())  # type: ignore[union-attr]
        for label, line in zip(labels, lines, strict=True)
    }


def test_both_curves_are_drawn() -> None:
    """Accuracy against confidence before and after scaling, the diagonal, and how often each confidence occurs."""
    targets, probabilities = overconfident()
    figure = reliability(targets, probabilities, 2.5)
    above, below = figure.axes
    lines = labelled(above)
    assert len(lines) == 3
    for name, answers in (("as trained", probabilities), ("2.50", calibration.scaled(probabilities, 2.5))):
        bins = calibration.reliability(targets, answers)
        ((label, (xs, ys)),) = ((label, line) for label, line in lines.items() if name in label)
        assert xs == [part.confidence for part in bins]
        assert ys == [part.accuracy for part in bins]
        assert f"{expected_calibration_error(targets, answers):.3f}" in label
    assert ([0, 1], [0, 1]) in lines.values()
    heights = [patch.get_height() for patch in below.patches]  # type: ignore[attr-defined]
    assert sum(heights) == pytest.approx(2), "shares of all images, before and after"
    assert above.get_xlim() == below.get_xlim()
    figure.savefig(io.BytesIO())


def test_a_single_certain_image_is_drawn() -> None:
    """One bin is enough for a picture."""
    reliability(np.array([0]), np.array([[1.0, 0.0]]), 1.0).savefig(io.BytesIO())


def measured(clean: float | None) -> Robustness:
    """Return scores that fall from kind to kind and from severity to severity."""
    scores: dict[Kind, list[float | None]] = {
        kind: [None if clean is None else clean - 0.02 * place * severity for severity in SEVERITIES]
        for place, kind in enumerate(KINDS, 1)
    }
    return Robustness(100, clean, scores, None if clean is None else clean - 0.18, None if clean is None else 0.2)


@pytest.mark.parametrize("strategies", [1, 3, 5])
def test_every_strategy_has_a_panel_of_every_kind(strategies: int) -> None:
    """Each line starts at the score of the images as they are, and goes on by severity."""
    found = {f"strategy $_{i}$": measured(0.9 - 0.01 * i) for i in range(strategies)}
    figure = robustness(found, "AUROC")
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert len(panels) == strategies
    for axes, (name, result) in zip(panels, found.items(), strict=True):
        assert axes.get_title(loc="left").replace("\\", "") == name
        lines = labelled(axes)
        assert list(lines) == list(KINDS)
        for kind, (xs, ys) in lines.items():
            assert xs == [0, *SEVERITIES]
            assert ys == [result.clean, *result.scores[kind]]  # type: ignore[index]
        assert [label.get_text() for label in axes.get_xticklabels() if label.get_visible()] == [
            str(severity) for severity in (0, *SEVERITIES)
        ]
        assert [text.get_text() for text in axes.texts] == ["−20.0% on average"]
    figure.savefig(io.BytesIO())
    (legend,) = figure.legends
    assert figure.bbox.containsx(legend.get_window_extent().x0)
    assert figure.bbox.containsx(legend.get_window_extent().x1)


def test_undefined_scores_leave_a_panel_empty() -> None:
    """A metric that the images leave undefined is no line, and no figure of what is lost."""
    figure = robustness({"full": measured(0.9), "odd": measured(None)}, "AUROC")
    _, axes = figure.axes
    assert all(np.isnan(line.get_ydata()).all() for line in axes.lines)
    assert not axes.texts
    figure.savefig(io.BytesIO())
