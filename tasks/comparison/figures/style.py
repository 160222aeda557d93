"""How all pictures look, and what they are made of."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, ACCENT, SECOND = "#1f2933", "#8a949e", "#0b6e99", "#d9822b"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": "#e4e7eb",
    "axes.axisbelow": True,
    "figure.dpi": 160,
    "figure.constrained_layout.use": True,
}
NARROW = 5.4  # inches: can be read on a phone without scrolling
TITLE_SIZE, LABEL_SIZE = 9, 8  # points, of panels
SIGNS_AN_INCH = 13  # of a title
MARGIN = 0.05  # of the range of values that several panels share


@dataclass(frozen=True)
class Panels:
    """Figures that belong together and flow into the columns that a page has room for.

    Attributes:
        figures: a panel each.
        legend: what explains all of them; None where each explains itself.
    """

    figures: Sequence[Figure]
    legend: Figure | None = None


def blank(width: float, height: float, *, grid: bool = True) -> tuple[Figure, Axes]:
    """Return a figure of a size in inches, and its axes."""
    with mpl.rc_context({**STYLE, "axes.grid": grid}):
        figure = Figure(figsize=(width, height))
        return figure, figure.subplots()


def write_title(axes: Axes, title: str) -> None:
    """Write the title of a panel, in as many lines as its width asks for."""
    width = axes.get_figure(root=True).get_figwidth()  # type: ignore[union-attr]
    axes.set_title(textwrap.fill(title, int(SIGNS_AN_INCH * width)), fontsize=TITLE_SIZE, loc="left")


def legend_of(handles: Sequence[Artist], labels: Sequence[str], columns: int) -> Figure:
    """Return a legend that is a figure of its own, as large as it must be."""
    with mpl.rc_context({**STYLE, "figure.constrained_layout.use": False}):
        figure = Figure()
    legend = figure.legend(handles, labels, loc="lower left", ncols=columns, frameon=False, borderaxespad=0)
    covered = legend.get_window_extent()
    figure.set_size_inches(covered.width / figure.dpi, covered.height / figure.dpi)
    return figure


def shared_limits(values: npt.ArrayLike) -> tuple[float, float]:
    """Return the limits of an axis on which several panels show values; those that are not a number don't count."""
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return 0.0, 1.0
    low, high = float(numbers.min()), float(numbers.max())
    margin = MARGIN * (high - low) or MARGIN
    return low - margin, high + margin
