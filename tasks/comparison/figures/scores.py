"""What every strategy scores, and what that costs."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from tasks.comparison.figures.style import ACCENT, INK, LABEL_SIZE, MUTED, NARROW, SECOND, blank
from tasks.comparison.schema import Comparison
from tasks.comparison.statistics import METRIC_NAMES
from tasks.comparison.verdict import starred

LABEL_HEIGHTS = (0, 9, -9, 18, -18, 27, -27, 36, -36)  # points
STOPPED: dict[str, Any] = {"color": MUTED, "markersize": 5, "markerfacecolor": "white"}
LEADER = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.6}


def draw_scores(comparison: Comparison) -> Figure:
    """Return every strategy's metric with its interval on both held-out splits, the champion marked.

    Of those that lost the race there is a hollow dot: their validation metric where they stopped.
    """
    ranked = list(comparison.strategies.values())
    figure, axes = blank(NARROW, 0.36 * len(ranked) + 1.0)
    for split, colour, offset in (("val", ACCENT, -0.13), ("test", SECOND, 0.13)):
        for row, result in enumerate(ranked):
            value, bounds = result.figure(split, comparison.metric)
            if value is not None and result.lost_race:
                axes.plot(value, row, "o", **STOPPED)
            if value is None or bounds is None:
                continue
            axes.plot(bounds, [row + offset] * 2, color=colour, linewidth=1.8, solid_capstyle="round")
            axes.plot(value, row + offset, "o", color=colour, markersize=5)
    axes.set_yticks(range(len(ranked)), [starred(result, comparison.champion) for result in ranked])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{METRIC_NAMES[comparison.metric]} with {comparison.confidence:.0%} bootstrap interval")
    handles = {
        name: Line2D([], [], color=colour, marker="o", markersize=5)
        for name, colour in (("validation", ACCENT), ("test", SECOND))
    }
    if any(result.lost_race for result in ranked):
        handles["validation, where the race stopped it"] = Line2D([], [], linestyle="none", marker="o", **STOPPED)
    axes.legend(handles.values(), handles.keys(), loc="best", frameon=False)
    return figure


def draw_costs(comparison: Comparison) -> Figure:
    """Return score against training seconds; the area of a dot grows with the share of trainable parameters.

    Efficient strategies have a ring; those that lost the race, whose training was cut short, are hollow.
    """
    figure, axes = blank(NARROW, 3.6)
    axes.set_xscale("log")
    dots = []
    for result in sorted(comparison.strategies.values(), key=lambda result: -result.trainable_parameters):
        value = result.figure("val", comparison.metric)[0]
        if value is None:
            continue
        share, seconds = result.trainable_parameters / result.parameters, max(result.train_seconds, 0.01)
        colour, area = SECOND if result.name == comparison.champion else ACCENT, 30 + 300 * share
        fill = "none" if result.lost_race else (colour, 0.45)
        ring = {"edgecolor": INK, "linewidth": 1.2} if result.efficient else {"linewidth": 0}
        if result.lost_race:
            ring = {"edgecolor": MUTED, "linewidth": 0.9}
        axes.scatter(seconds, value, s=area, facecolor=fill, **ring)
        words = f"{starred(result, comparison.champion)}  {share:.1%}"
        dots.append(Dot(words, (seconds, value), math.sqrt(area) / 2))
    axes.margins(x=0.3, y=0.2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("training seconds, on a log scale")
    axes.set_ylabel(f"validation {METRIC_NAMES[comparison.metric]}")
    label(figure, axes, dots)
    return figure


class Dot(NamedTuple):
    """A dot that gets a label; its radius is in points."""

    words: str
    place: tuple[float, float]
    radius: float

    def box(self, figure: Figure, axes: Axes) -> Bbox:
        """Return what the dot covers, in the figure's pixels."""
        x, y = axes.transData.transform(self.place)
        reach = self.radius * figure.dpi / 72
        return Bbox.from_extents(x - reach, y - reach, x + reach, y + reach)


def label(figure: Figure, axes: Axes, dots: Sequence[Dot]) -> None:
    """Write every dot's label beside it, at the first height where it covers no other label, no dot and no axis."""
    figure.draw_without_rendering()
    taken = [dot.box(figure, axes) for dot in dots]
    for words, place, radius in dots:
        text = axes.annotate(words, place, (0, 0), textcoords="offset points", fontsize=LABEL_SIZE, va="center")
        for height, side in itertools.product(LABEL_HEIGHTS, (1, -1)):
            text.set(position=(side * (radius + 3), height), horizontalalignment="left" if side > 0 else "right")
            box = text.get_window_extent()
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
            if inside and not any(box.overlaps(other) for other in taken):
                break
        if abs(height) > radius:
            end = (side * (radius + 3), height)
            axes.annotate("", place, end, textcoords="offset points", arrowprops=LEADER)
        taken.append(box)
