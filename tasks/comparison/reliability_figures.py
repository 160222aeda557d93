"""Pictures of how far probabilities and scores can be relied on."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tasks.comparison.figures import ACCENT, INK, MUTED, NARROW, SECOND, STYLE
from tasks.comparison.lettering import literal
from tasks.evaluation.calibration import Bin, scaled
from tasks.evaluation.calibration import reliability as binned
from tasks.evaluation.corruptions import SEVERITIES, Kind
from tasks.evaluation.metrics import Floats, Integers, expected_calibration_error
from tasks.evaluation.robustness import Robustness

LINES: dict[Kind, tuple[str, str]] = {  # colour and marker
    "noise": (ACCENT, "o"),
    "blur": (SECOND, "s"),
    "brightness": ("#2f8f5b", "^"),
    "jpeg": ("#8c4a97", "D"),
    "shift": ("#b3302c", "v"),
}


def reliability(targets: Integers, probabilities: Floats, temperature: float) -> Figure:
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
        bins = binned(targets, answers)
        error = expected_calibration_error(targets, answers)
        _accuracies(above, bins, colour, f"{name}: calibration error {error:.3f}")
        _frequencies(below, bins, colour, place)
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


def robustness(found: Mapping[str, Robustness], metric: str) -> Figure:
    """Return the scores of strategies on corrupted images, a panel each: a line a kind, severity to the right.

    Args:
        found: of each strategy.
        metric: its name, as it is read.
    """
    columns = min(4, len(found))
    rows = -(-len(found) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(max(2.2 * columns, 5.0), 2.2 * rows + 0.4))
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, (name, result) in zip(panels.ravel(), found.items(), strict=False):
        for kind, (colour, marker) in LINES.items():
            values = np.array([result.clean, *result.scores[kind]], dtype=np.float64)
            axes.plot((0, *SEVERITIES), values, color=colour, marker=marker, markersize=3.5, linewidth=1.3, label=kind)
        axes.set_title(literal(name), fontsize=9, loc="left")
        if result.relative_drop is not None:
            words = f"{-result.relative_drop:+z.1%} on average".replace("-", "−")
            axes.text(
                0.04, 0.04, words, fontsize=7.5, color=INK, transform=axes.transAxes, zorder=1, backgroundcolor="white"
            )
        axes.set_xticks((0, *SEVERITIES))
        axes.set_xlabel("severity", fontsize=8)
        axes.set_ylabel(metric, fontsize=8)
        axes.tick_params(labelleft=True)
    for axes in panels.ravel()[len(found) :]:
        axes.set_visible(False)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(LINES), frameon=False, fontsize=8)
    return figure


def _accuracies(axes: Axes, bins: Sequence[Bin], colour: str, label: str) -> None:
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


def _frequencies(axes: Axes, bins: Sequence[Bin], colour: str, place: int) -> None:
    images = sum(part.images for part in bins)
    width = bins[0].high - bins[0].low
    left = [part.low + width * (0.08 + 0.42 * place) for part in bins]
    axes.bar(left, [part.images / images for part in bins], 0.42 * width, align="edge", color=colour)
