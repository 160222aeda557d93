"""Pictures of the images themselves: samples of each class, and the groups that show the same."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from tasks.comparison.figures import MUTED, STYLE, Picture, literal, without_alpha

COLUMNS = 10
CLASSES, GROUPS = 30, 6


def contact_sheet(rows: Sequence[tuple[str, Sequence[str]]], picture: Picture) -> Figure:
    """Return a row of images for each title.

    Args:
        rows: a title, and paths of images of which the first ten are shown.
        picture: returns the pixels of an image by its path.
    """
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(7.2, 0.95 * len(rows)))
        panels = figure.subplots(len(rows), COLUMNS, squeeze=False)
    for axes in panels.ravel():
        axes.set_axis_off()
    for (title, paths), line in zip(rows, panels, strict=True):
        for path, axes in zip(paths, line, strict=False):
            axes.imshow(without_alpha(picture(path)), cmap="gray", vmin=0, vmax=255)
        words = literal(title if len(title) <= 60 else title[:59] + "…")
        line[0].set_title(words, fontsize=7, loc="left", color=MUTED).set_in_layout(False)
    return figure


def spread(paths: Sequence[str]) -> list[str]:
    """Return up to ten of the paths, evenly spread over their order."""
    places = np.linspace(0, len(paths) - 1, min(COLUMNS, len(paths))).astype(int)
    return [paths[place] for place in places]
