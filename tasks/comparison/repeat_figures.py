"""What other seeds and fewer images change, drawn."""

import math

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from tasks.comparison.figures import ACCENT, INK, MUTED, NARROW, SECOND, STYLE
from tasks.comparison.schema import Comparison, StrategyResult
from tasks.comparison.verdict import METRIC_NAMES, starred


def seeds(found: Comparison) -> Figure | None:
    """Return the validation score of every seed, a row a strategy, or None with a single seed."""
    if not found.leader.over_seeds:
        return None
    ranked = list(found.strategies.values())[::-1]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(NARROW, 0.34 * len(ranked) + 0.9))
        axes = figure.subplots()
    for row, result in enumerate(ranked):
        if result.over_seeds is None:
            continue
        spread = result.over_seeds.val[found.metric]
        values = [value for value in spread.values if value is not None]
        axes.plot(values, [row] * len(values), "o", color=ACCENT, markersize=6, alpha=0.55, markeredgewidth=0)
        if spread.mean is not None:
            axes.plot([spread.mean] * 2, [row - 0.3, row + 0.3], color=INK, linewidth=1.4)
    axes.set_yticks(range(len(ranked)), [starred(result, found.champion) for result in ranked])
    axes.set_xlabel(f"validation {METRIC_NAMES[found.metric]} of every seed")
    return figure


def shares(found: Comparison) -> Figure | None:
    """Return the validation score against the number of training images, or None if no shares were asked for.

    A panel a strategy, best first, with all others behind it in grey.
    """
    if not found.leader.by_share:
        return None
    curves = {name: _by_images(result, found) for name, result in found.strategies.items()}
    columns = min(4, len(curves))
    rows = -(-len(curves) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.5 * columns, 2.1 * rows))
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    counts = [images for images, _ in curves[found.leader.name]]
    for axes, (name, curve) in zip(panels, curves.items(), strict=False):
        for other in curves.values():
            axes.plot(*zip(*other, strict=True), color=MUTED, linewidth=0.8, alpha=0.4)
        axes.plot(*zip(*curve, strict=True), "o-", color=SECOND if name == found.champion else ACCENT, markersize=4)
        axes.set_title(starred(found.strategies[name], found.champion), fontsize=9, loc="left")
        axes.set_xscale("log")
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("training images, on a log scale", fontsize=8)
        axes.set_ylabel(f"validation {METRIC_NAMES[found.metric]}", fontsize=8)
        axes.tick_params(labelleft=True, labelbottom=True)
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    return figure


def _by_images(result: StrategyResult, found: Comparison) -> list[tuple[int, float]]:
    """Return numbers of training images and scores of the first seed; undefined ones are not a number."""
    points = [(point.images, point.val[found.metric]) for point in result.by_share]
    points.append((found.data.images["train"], getattr(result.val, found.metric)))
    return [(images, math.nan if value is None else value) for images, value in points]
