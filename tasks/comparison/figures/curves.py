"""Losses by epoch, and the epoch that was kept beside the last one."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tasks.comparison.figures.style import ACCENT, LABEL_SIZE, MUTED, Panels, blank, legend_of, write_title
from tasks.comparison.schema import Comparison, StrategyResult
from tasks.comparison.verdict import starred

FOLLOWED = {"val_loss": "validation loss", "val_accuracy": "validation accuracy"}
KEPT: dict[str, Any] = {"marker": "o", "color": ACCENT, "markersize": 5, "linestyle": "none"}
LAST: dict[str, Any] = KEPT | {"markerfacecolor": "white", "markersize": 6}


def draw_curves(comparison: Comparison) -> Panels:
    """Return every run by epoch, a panel each, and then the epoch that was kept beside the last one, for whole runs.

    Runs that lost the race within their first epoch have no panel.
    """
    ranked = [result for result in comparison.strategies.values() if result.history]
    top = max(max(row["val_loss"] for row in result.history[1:] or result.history) for result in ranked)
    runs = [_draw_run(result, comparison, 1.3 * top) for result in ranked]
    handles, labels = runs[0].axes[0].get_legend_handles_labels()
    whole = [result for result in ranked if not result.lost_race]
    sides = [_draw_kept_and_last(whole, comparison, column) for column in FOLLOWED]
    return Panels([*runs, *sides], legend_of(handles, labels, columns=2))


def _draw_run(result: StrategyResult, comparison: Comparison, top: float) -> Figure:
    figure, axes = blank(2.3, 2.1)
    plot_losses(axes, result.history, result.best_epoch)
    write_title(axes, starred(result, comparison.champion))
    axes.set_ylim(0, top)
    axes.set_xlabel("epoch", fontsize=LABEL_SIZE)
    return figure


def _draw_kept_and_last(ranked: Sequence[StrategyResult], comparison: Comparison, column: str) -> Figure:
    """Return a line a strategy, from the last epoch's value to that of the epoch that was kept."""
    figure, axes = blank(4.6, 0.27 * len(ranked) + 0.9)
    for row, result in enumerate(ranked):
        kept, last = result.history[result.best_epoch][column], result.history[-1][column]
        axes.plot((kept, last), (row, row), color=ACCENT, linewidth=1.2)
        axes.plot(last, row, **LAST)
        axes.plot(kept, row, **KEPT)
    axes.grid(visible=False, axis="y")
    axes.margins(y=0.5 / len(ranked))
    axes.set_xlabel(FOLLOWED[column])
    axes.set_yticks(range(len(ranked)), [starred(result, comparison.champion) for result in ranked])
    axes.invert_yaxis()
    return figure


def plot_losses(axes: Axes, history: Sequence[dict[str, float]], best_epoch: int) -> None:
    """Plot both losses of a run, the last epoch and the one that was kept marked."""
    epochs = [row["epoch"] + 1 for row in history]
    axes.plot(epochs, [row["train_loss"] for row in history], color=MUTED, label="training loss")
    losses = [row["val_loss"] for row in history]
    axes.plot(epochs, losses, color=ACCENT, label="validation loss")
    axes.plot(epochs[-1], losses[-1], label="last epoch", **LAST)
    if best_epoch < len(losses):  # not so where a race stopped a run, and kept its weights, within an epoch
        axes.plot(best_epoch + 1, losses[best_epoch], label="epoch that was kept", **KEPT)
    axes.set_xlim(0.5, max(epochs) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
