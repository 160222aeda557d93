"""What trains in which epoch, and how fast."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from tasks.comparison.figures.style import ACCENT, LABEL_SIZE, Panels, blank, write_title
from tasks.comparison.schema import Comparison, Part
from tasks.comparison.verdict import starred

FROZEN, THAWED = "#e8eef3", "YlOrBr"
SCALE = "peak learning rate (pale grey: frozen, blue: solved at once)"


def draw_plans(comparison: Comparison) -> Panels:
    """Return what trains in which epoch of every strategy, a panel each, on one scale of learning rates."""
    shades = _shades([result.parts for result in comparison.strategies.values()])
    tallest = max(len(result.parts) for result in comparison.strategies.values())
    panels = []
    for result in comparison.strategies.values():
        figure, axes = blank(2.3, 0.15 * tallest + 0.85, grid=False)
        _plot_plan(axes, result.parts, result.phases, shades)
        write_title(axes, starred(result, comparison.champion))
        axes.set_xlabel("epochs", fontsize=LABEL_SIZE)
        axes.tick_params(labelsize=LABEL_SIZE)
        panels.append(figure)
    return Panels(panels, _draw_scale(shades))


def draw_plan_of_run(parts: Sequence[Part], phases: Sequence[int]) -> Figure:
    """Return what trains in which epoch of one strategy, with every part's number of parameters."""
    figure, axes = blank(7.2, 0.24 * len(parts) + 1.1, grid=False)
    shades = _shades([parts])
    _plot_plan(axes, parts, phases, shades)
    axes.set_yticks(range(len(parts)), [f"{part.name}  {part.parameters:,}" for part in parts])
    axes.set_xlabel("epochs")
    mappable = ScalarMappable(shades, THAWED)
    _name_scale(figure.colorbar(mappable, ax=[axes], location="bottom", fraction=0.04, aspect=40))
    return figure


def _plot_plan(axes: Axes, parts: Sequence[Part], phases: Sequence[int], shades: LogNorm) -> None:
    edges = np.concatenate([[0], np.cumsum(phases)])
    rates = np.array([[rate or np.nan for rate in part.rates] for part in parts])
    axes.set_facecolor(FROZEN)
    axes.pcolormesh(
        edges, np.arange(len(parts) + 1) - 0.5, rates, cmap=THAWED, norm=shades, edgecolors="white", linewidth=0.6
    )
    for row, part in enumerate(parts):
        for start, epochs, rate in zip(edges, phases, part.rates, strict=False):
            if rate == 0:
                axes.add_patch(Rectangle((start, row - 0.5), epochs, 1, facecolor=ACCENT, edgecolor="white"))
    axes.set_yticks(range(len(parts)), [part.name for part in parts])
    axes.set_xlim(0, edges[-1])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))


def _shades(plans: Sequence[Sequence[Part]]) -> LogNorm:
    """Return the scale from learning rates to colours."""
    rates = [rate for parts in plans for part in parts for rate in part.rates if rate]
    lowest, highest = min(rates, default=1e-4), max(rates, default=1e-3)
    return LogNorm(lowest / 3, max(highest, lowest * 3))


def _draw_scale(shades: LogNorm) -> Figure:
    figure, axes = blank(5.4, 0.6, grid=False)
    _name_scale(figure.colorbar(ScalarMappable(shades, THAWED), cax=axes, orientation="horizontal"))
    return figure


def _name_scale(bar: Colorbar) -> None:
    bar.set_label(SCALE, fontsize=LABEL_SIZE)
    bar.ax.tick_params(which="both", labelsize=LABEL_SIZE)
