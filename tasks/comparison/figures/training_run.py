"""The pictures of one fine-tuning, which MLflow has beside its run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from tasks.comparison.figures.confusions import plot_confusion
from tasks.comparison.figures.curves import plot_losses
from tasks.comparison.figures.plans import draw_plan_of_run
from tasks.comparison.figures.rendering import as_png, save
from tasks.comparison.figures.style import ACCENT, SECOND, STYLE, blank
from tasks.comparison.schema import Part

RangeTest = tuple[Sequence[tuple[float, float]], float]


def write_figures(
    folder: Path,
    progress: Mapping[str, Any],
    plan: Mapping[str, Any],
    range_tests: Sequence[RangeTest],
    scores: Mapping[str, Any],
    classes: Sequence[str],
) -> list[Path]:
    """Draw the pictures of one strategy and return their files.

    Args:
        folder: where the pictures go.
        progress: what the training has behind it.
        plan: its parts and phases.
        range_tests: of each learning-rate range test (rate, loss) a step, and the rate that was taken.
        scores: of the validation split.
        classes: their names.
    """
    parts = [Part(**part) for part in plan["parts"]]
    drawn = {
        "run": _draw_run(progress["history"], progress["best_epoch"], scores["confusion"], classes),
        "freeze_plan": draw_plan_of_run(parts, plan["phases"]),
    }
    drawn |= {f"range_test_{place}": _draw_range_test(*test) for place, test in enumerate(range_tests, 1)}
    return [save([as_png(figure)], folder, name) for name, figure in drawn.items()]


def _draw_run(
    history: Sequence[dict[str, float]], best_epoch: int, matrix: Sequence[Sequence[int]], classes: Sequence[str]
) -> Figure:
    """Return the losses and the confusion matrix on the validation split, side by side."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.0))
        left, right = figure.subplots(1, 2)
    plot_losses(left, history, best_epoch)
    left.legend(frameon=False)
    left.set_xlabel("epoch")
    left.set_ylabel("loss")
    right.grid(visible=False)
    plot_confusion(right, matrix, classes)
    return figure


def _draw_range_test(curve: Sequence[tuple[float, float]], taken: float) -> Figure:
    """Return the loss against the learning rate of a range test, the rate that was taken marked."""
    figure, axes = blank(5.0, 3.0)
    rates, losses = zip(*curve, strict=True)
    axes.plot(rates, losses, color=ACCENT)
    axes.axvline(taken, color=SECOND, linewidth=1.2)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate (the line marks the one taken)")
    axes.set_ylabel("smoothed training loss")
    return figure
