"""Several networks side by side: what every strategy reaches on each, and what an answer of each costs."""

import numpy as np
from matplotlib.figure import Figure

from tasks.comparison.figures.scores import Dot, label
from tasks.comparison.figures.style import ACCENT, INK, LABEL_SIZE, MUTED, NARROW, SECOND, blank
from tasks.comparison.schema import Comparison, StrategyResult
from tasks.comparison.statistics import METRIC_NAMES
from tasks.comparison.verdict import starred

COLOURS = "Blues"


def draw_networks(comparison: Comparison) -> Figure | None:
    """Return the validation metric as a map of networks by strategies; None where one network competes alone.

    Values of those that lost the race are where they stopped, and are in brackets.
    """
    by_place = {(result.network, _strategy(result)): result for result in comparison.strategies.values()}
    networks = list(dict.fromkeys(network for network, _ in by_place))
    if len(networks) < 2:
        return None
    strategies = list(dict.fromkeys(strategy for _, strategy in by_place))
    values = np.full((len(strategies), len(networks)), np.nan)
    for row, strategy in enumerate(strategies):
        for column, network in enumerate(networks):
            if (network, strategy) in by_place:
                reached = by_place[network, strategy].figure("val", comparison.metric)[0]
                values[row, column] = np.nan if reached is None else reached
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    figure, axes = blank(NARROW, 0.34 * len(strategies) + 1.0, grid=False)
    axes.imshow(values, aspect="auto", cmap=COLOURS, vmin=low, vmax=high + (high - low) / 2 or 1.0)
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value):
            continue
        result = by_place[networks[column], strategies[row]]
        words = f"({value:.3f})" if result.lost_race else f"{value:.3f}"
        star = "★ " if result.name == comparison.champion else ""
        weight = "bold" if star else "normal"
        axes.text(
            column, row, f"{star}{words}", ha="center", va="center", fontsize=LABEL_SIZE, weight=weight, color=INK
        )
    axes.set_xticks(range(len(networks)), networks)
    axes.set_yticks(range(len(strategies)), strategies)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def draw_speeds(comparison: Comparison) -> Figure | None:
    """Return the test metric, with its interval, against milliseconds an image; None without several networks.

    Milliseconds are the network's, as it was screened. Only what was tested has a dot; the best of each network is
    named.
    """
    tested = [result for result in comparison.strategies.values() if result.test and result.milliseconds]
    if len({result.network for result in comparison.strategies.values()}) < 2 or not tested:
        return None
    figure, axes = blank(NARROW, 3.4)
    axes.set_xscale("log")
    dots, named = [], set()
    for result in tested:
        value, bounds = result.figure("test", comparison.metric)
        if value is None or result.milliseconds is None:
            continue
        colour = SECOND if result.name == comparison.champion else ACCENT
        if bounds and (result.network not in named or result.name == comparison.champion):
            axes.plot([result.milliseconds] * 2, bounds, color=colour, linewidth=1.4, solid_capstyle="round", alpha=0.6)
        axes.scatter(result.milliseconds, value, s=28, color=colour, edgecolor=INK if result.efficient else MUTED)
        if result.network not in named or result.name == comparison.champion:
            dots.append(Dot(starred(result, comparison.champion), (result.milliseconds, value), 4.0))
            named.add(result.network)
    axes.margins(x=0.4, y=0.15)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.set_xlabel("milliseconds an image, on a log scale")
    axes.set_ylabel(f"test {METRIC_NAMES[comparison.metric]}")
    label(figure, axes, dots)
    return figure


def _strategy(result: StrategyResult) -> str:
    return result.name.rpartition("/")[2]
