"""What other seeds and fewer images change."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from tasks.comparison.figures.style import (
    ACCENT,
    INK,
    LABEL_SIZE,
    MUTED,
    NARROW,
    SECOND,
    Panels,
    blank,
    shared_limits,
    write_title,
)
from tasks.comparison.schema import Comparison, StrategyResult
from tasks.comparison.statistics import METRIC_NAMES
from tasks.comparison.verdict import starred

Curve = Sequence[tuple[int, float]]  # numbers of training images, and scores


def draw_seeds(comparison: Comparison) -> Figure | None:
    """Return the validation score of every seed, a row a strategy, or None with a single seed."""
    if not comparison.leader.over_seeds:
        return None
    ranked = [result for result in comparison.strategies.values() if result.over_seeds][::-1]
    figure, axes = blank(NARROW, 0.34 * len(ranked) + 0.9)
    for row, result in enumerate(ranked):
        if result.over_seeds is None:
            continue
        spread = result.over_seeds.val[comparison.metric]
        values = [value for value in spread.values if value is not None]
        axes.plot(values, [row] * len(values), "o", color=ACCENT, markersize=6, alpha=0.55, markeredgewidth=0)
        if spread.mean is not None:
            axes.plot([spread.mean] * 2, [row - 0.3, row + 0.3], color=INK, linewidth=1.4)
    axes.set_yticks(range(len(ranked)), [starred(result, comparison.champion) for result in ranked])
    axes.set_xlabel(f"validation {METRIC_NAMES[comparison.metric]} of every seed")
    return figure


def draw_shares(comparison: Comparison) -> Panels | None:
    """Return the validation score against the number of training images, or None if no shares were asked for.

    A panel a strategy that did not lose the race, best first, with all others behind it in grey.
    """
    if not comparison.leader.by_share:
        return None
    whole = {name: result for name, result in comparison.strategies.items() if not result.lost_race}
    curves = {name: _by_images(result, comparison) for name, result in whole.items()}
    return Panels([_draw_curve(name, curves, comparison) for name in curves])


def _draw_curve(name: str, curves: Mapping[str, Curve], comparison: Comparison) -> Figure:
    figure, axes = blank(2.5, 2.1)
    for curve in curves.values():
        axes.plot(*zip(*curve, strict=True), color=MUTED, linewidth=0.8, alpha=0.4)
    colour = SECOND if name == comparison.champion else ACCENT
    axes.plot(*zip(*curves[name], strict=True), "o-", color=colour, markersize=4)
    write_title(axes, starred(comparison.strategies[name], comparison.champion))
    counts = [images for images, _ in curves[comparison.leader.name]]
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(shared_limits([score for curve in curves.values() for _, score in curve]))
    axes.set_xlabel("training images, on a log scale", fontsize=LABEL_SIZE)
    axes.set_ylabel(f"validation {METRIC_NAMES[comparison.metric]}", fontsize=LABEL_SIZE)
    return figure


def _by_images(result: StrategyResult, comparison: Comparison) -> Curve:
    """Return numbers of training images and scores of the first seed; undefined ones are not a number."""
    points = [(point.images, point.val[comparison.metric]) for point in result.by_share]
    points.append((comparison.data.images["train"], getattr(result.val, comparison.metric)))
    return [(images, math.nan if value is None else value) for images, value in points]
