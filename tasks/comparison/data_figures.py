"""Pictures of the images themselves: samples of each class, and the groups that show the same."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from tasks.comparison.figures import INK, STYLE, Picture, without_alpha

COLUMNS = 10
FIRST_TITLE = 0.15  # inches above the first row
CLASSES, GROUPS = 30, 6


def contact_sheet(rows: Sequence[tuple[str, Sequence[str]]], picture: Picture) -> Figure:
    """Return a row of images for each title.

    Args:
        rows: a title (see ``Lettering``), and paths of images of which the first ten are shown.
        picture: returns the pixels of an image by its path.
    """
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        height = 0.95 * len(rows) + FIRST_TITLE
        layout = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - FIRST_TITLE / height), hspace=0.22)
        figure = Figure(figsize=(7.2, height), layout=layout)
        panels = figure.subplots(len(rows), COLUMNS, squeeze=False)
    for axes in panels.ravel():
        axes.set_axis_off()
    for (title, paths), line in zip(rows, panels, strict=True):
        for path, axes in zip(paths, line, strict=False):
            axes.imshow(without_alpha(picture(path)), cmap="gray", vmin=0, vmax=255)
        text = line[0].text(0, 1.06, title, fontsize=8, color=INK, transform=line[0].transAxes)
        text.set_in_layout(False)  # it may be wider than its image
    return figure


def spread(paths: Sequence[str]) -> list[str]:
    """Return up to ten of the paths, evenly spread over their order."""
    places = np.linspace(0, len(paths) - 1, min(COLUMNS, len(paths))).astype(int)
    return [paths[place] for place in places]
