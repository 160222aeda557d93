"""How far probabilities can be relied on."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tasks.arrays import Floats, Integers
from tasks.comparison.figures.style import ACCENT, MUTED, NARROW, SECOND, STYLE
from tasks.evaluation.calibration import Bin, reliability, scaled
from tasks.evaluation.metrics import expected_calibration_error


def draw_reliability(targets: Integers, probabilities: Floats, temperature: float) -> Figure:
    """Return accuracy against confidence before and after temperature scaling, and how often each confidence occurs.

    Args:
        targets: classes as integers, shape (images,).
        probabilities: before scaling, shape (images, classes).
        temperature: fitted on other images.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(NARROW, 5.0))
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    after = scaled(probabilities, temperature)
    lowest = 1.0
    for place, (name, answers, colour) in enumerate(
        (("as trained", probabilities, SECOND), (f"at temperature {temperature:.2f}", after, ACCENT))
    ):
        bins = reliability(targets, answers)
        error = expected_calibration_error(targets, answers)
        _plot_accuracies(above, bins, colour, f"{name}: calibration error {error:.3f}")
        _plot_frequencies(below, bins, colour, place)
        lowest = min(lowest, bins[0].low)
    above.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--", label="perfect calibration")
    above.set_xlim(lowest, 1)
    above.set_ylim(0, 1.02)
    above.set_ylabel("accuracy with 95% interval")
    figure.legend(loc="outside upper left", frameon=False)
    below.set_ylabel("images")
    below.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    below.set_xlabel("confidence: probability of the answer")
    return figure


def _plot_accuracies(axes: Axes, bins: Sequence[Bin], colour: str, label: str) -> None:
    confidence = [part.confidence for part in bins]
    accuracy = [part.accuracy for part in bins]
    errors = [
        [part.accuracy - part.accuracy_low for part in bins],
        [part.accuracy_high - part.accuracy for part in bins],
    ]
    axes.errorbar(
        confidence, accuracy, np.maximum(errors, 0), color=colour, marker="o", markersize=4, linewidth=1.5,
        elinewidth=0.9, capsize=2, label=label,
    )  # fmt: skip


def _plot_frequencies(axes: Axes, bins: Sequence[Bin], colour: str, place: int) -> None:
    images = sum(part.images for part in bins)
    width = bins[0].high - bins[0].low
    left = [part.low + width * (0.08 + 0.42 * place) for part in bins]
    axes.bar(left, [part.images / images for part in bins], 0.42 * width, align="edge", color=colour)
