"""What scores are left on corrupted images."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from tasks.comparison.figures.lettering import literal
from tasks.comparison.figures.style import (
    ACCENT,
    INK,
    LABEL_SIZE,
    SECOND,
    Panels,
    blank,
    legend_of,
    shared_limits,
    write_title,
)
from tasks.evaluation.corruptions import SEVERITIES, Kind
from tasks.evaluation.robustness import Robustness

LINES: dict[Kind, tuple[str, str]] = {  # colour and marker
    "noise": (ACCENT, "o"),
    "blur": (SECOND, "s"),
    "brightness": ("#2f8f5b", "^"),
    "jpeg": ("#8c4a97", "D"),
    "shift": ("#b3302c", "v"),
}


def draw_robustness(measured: Mapping[str, Robustness], metric: str) -> Panels:
    """Return the scores of strategies on corrupted images, a panel each: a line a kind, severity to the right.

    Args:
        measured: what is left of each strategy's score, one at least.
        metric: its name, as it is read.
    """
    scores = [[result.clean, *values] for result in measured.values() for values in result.scores.values()]
    limits = shared_limits(np.array(scores, dtype=np.float64))
    panels = [_draw_strategy(name, result, metric, limits) for name, result in measured.items()]
    handles, labels = panels[0].axes[0].get_legend_handles_labels()
    return Panels(panels, legend_of(handles, labels, columns=len(LINES)))


def _draw_strategy(name: str, measured: Robustness, metric: str, limits: tuple[float, float]) -> Figure:
    figure, axes = blank(2.2, 2.2)
    for kind, (colour, marker) in LINES.items():
        values = np.array([measured.clean, *measured.scores[kind]], dtype=np.float64)
        axes.plot((0, *SEVERITIES), values, color=colour, marker=marker, markersize=3.5, linewidth=1.3, label=kind)
    write_title(axes, literal(name))
    if measured.relative_drop is not None:
        words = f"{-measured.relative_drop:+z.1%} on average".replace("-", "−")
        axes.text(
            0.04, 0.04, words, fontsize=7.5, color=INK, transform=axes.transAxes, zorder=1, backgroundcolor="white"
        )
    axes.set_ylim(limits)
    axes.set_xticks((0, *SEVERITIES))
    axes.set_xlabel("severity", fontsize=LABEL_SIZE)
    axes.set_ylabel(metric, fontsize=LABEL_SIZE)
    return figure
