"""The pictures show the figures that they were given."""

import io

import numpy as np
import pytest
from matplotlib.axes import Axes
from scipy.special import softmax

from tasks.arrays import Floats, Integers
from tasks.comparison.figures.reliability import draw_reliability
from tasks.evaluation import calibration
from tasks.evaluation.metrics import expected_calibration_error


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
    figure = draw_reliability(targets, probabilities, 2.5)
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
    draw_reliability(np.array([0]), np.array([[1.0, 0.0]]), 1.0).savefig(io.BytesIO())
