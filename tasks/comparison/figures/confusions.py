"""Confusion matrices."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from tasks.comparison.figures.lettering import Lettering
from tasks.comparison.figures.style import INK, LABEL_SIZE, STYLE, Panels, blank, write_title
from tasks.comparison.schema import Comparison
from tasks.comparison.verdict import starred

FEW_CLASSES = 12  # with more, the page has only one confusion matrix
SMALLEST_CELL = 0.17  # inches: below, there is no room for a figure
WIDEST = 10.6  # inches: fits the page of a desktop
LONGEST = 14  # signs of a name beside a matrix


def draw_confusions(comparison: Comparison) -> Panels:
    """Return the confusion matrix of every strategy that was tested; with many classes, of the leader alone."""
    classes = comparison.data.classes
    tested = [result for result in comparison.strategies.values() if result.test]
    shown = tested if len(classes) <= FEW_CLASSES else [comparison.leader]
    side = min(max(1.9, 0.42 * len(classes) + 0.8), WIDEST)
    panels = []
    for result in shown:
        figure, axes = blank(side + 0.15, side + 0.05, grid=False)
        plot_confusion(axes, result.tested.confusion, classes)
        write_title(axes, starred(result, comparison.champion))
        panels.append(figure)
    return Panels(panels)


def plot_confusion(axes: Axes, matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> None:
    """Plot a confusion matrix: colours by share of the true class, figures by count where there is room for them."""
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.1, interpolation="none")
    axes.set_xlabel("predicted", fontsize=LABEL_SIZE)
    axes.set_ylabel("true", fontsize=LABEL_SIZE)
    if axes.get_window_extent().height / STYLE["figure.dpi"] / len(classes) < SMALLEST_CELL:
        axes.set_xticks([])
        axes.set_yticks([])
        return
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.6 else INK
        axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=LABEL_SIZE)
    lettering = Lettering(classes)
    short = [lettering.of(label, LONGEST) for label in classes]
    axes.set_xticks(range(len(classes)), short, rotation=30, ha="right", fontsize=LABEL_SIZE)
    axes.set_yticks(range(len(classes)), short, fontsize=LABEL_SIZE)
