"""Pictures of single images: the worst mistakes, the labels in doubt, samples of every class."""

from collections.abc import Callable, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from tasks.arrays import Pixels
from tasks.comparison.figures.lettering import Lettering
from tasks.comparison.figures.style import INK, LABEL_SIZE, STYLE, Panels
from tasks.comparison.schema import SuspectLabel
from tasks.evaluation.predictions import probabilities_of
from tasks.evaluation.saliency import Map

MISTAKES = 12
HEIGHT, WIDEST = 1.4, 2.9  # inches of an image, at most
MARGIN = 0.04  # inches around an image with its title
HEAT, STRONGEST = "inferno", 0.75  # of a saliency map: its colours, and how opaque they are at most
COLUMNS = 10  # of a contact sheet
FIRST_TITLE = 0.15  # inches above the first row of a contact sheet

ReadImage = Callable[[str], Pixels]  # by its path
Saliency = Callable[[str, str], Map]  # of an image, by its path, and a class, by its name


def draw_mistakes(
    predictions: pd.DataFrame, classes: Sequence[str], read_image: ReadImage, saliency: Saliency
) -> Panels | None:
    """Return the images that were misclassified with the most confidence, or None if every image was right.

    Beside each is what speaks for the answer that it got.
    """
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    if wrong.empty:
        return None
    confidence = pd.Series(probabilities_of(wrong, classes).max(axis=1), index=wrong.index)
    worst = wrong.assign(confidence=confidence).sort_values("confidence", ascending=False, kind="stable")[:MISTAKES]
    lettering, panels = Lettering(classes), []
    for path, answer, sureness, label in worst[["path", "predicted", "confidence", "label"]].itertuples(index=False):
        pixels = _with_heat(without_alpha(read_image(path)), saliency(path, answer))
        title = f"{lettering.of(answer)} {sureness:.2f}\nis {lettering.of(label)}"
        panels.append(_draw_image(pixels, title))
    return Panels(panels)


def draw_suspects(suspects: Sequence[SuspectLabel], classes: Sequence[str], read_image: ReadImage) -> Panels | None:
    """Return the images whose label is doubted, the least likely first, with what each is rather; None if none is."""
    if not suspects:
        return None
    lettering, panels = Lettering(classes), []
    for suspect in suspects[:MISTAKES]:
        suggestion = f"{lettering.of(suspect.suggested)} {suspect.probability:.2f}"
        title = f"labelled {lettering.of(suspect.label)}\nrather {suggestion}"
        panels.append(_draw_image(without_alpha(read_image(suspect.path)), title))
    return Panels(panels)


def draw_contact_sheet(rows: Sequence[tuple[str, Sequence[str]]], read_image: ReadImage) -> Figure:
    """Return a row of images for each title.

    Args:
        rows: a title (see ``Lettering``), and paths of images of which the first ten are shown.
        read_image: returns the pixels of an image by its path.
    """
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        height = 0.95 * len(rows) + FIRST_TITLE
        layout = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - FIRST_TITLE / height), hspace=0.22)
        figure = Figure(figsize=(7.2, height), layout=layout)
        grid = figure.subplots(len(rows), COLUMNS, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for (title, paths), line in zip(rows, grid, strict=True):
        for path, axes in zip(paths, line, strict=False):
            axes.imshow(without_alpha(read_image(path)), cmap="gray", vmin=0, vmax=255)
        text = line[0].text(0, 1.06, title, fontsize=LABEL_SIZE, color=INK, transform=line[0].transAxes)
        text.set_in_layout(False)  # it may be wider than its image
    return figure


def spread(paths: Sequence[str]) -> list[str]:
    """Return up to ten of the paths, evenly spread over their order, as a row of a contact sheet has."""
    places = np.linspace(0, len(paths) - 1, min(COLUMNS, len(paths))).astype(int)
    return [paths[place] for place in places]


def without_alpha(pixels: Pixels) -> Pixels:
    """Return pixels as matplotlib shows them: of shape (height, width) for grey, (height, width, 3) for colour."""
    return pixels[..., 0] if pixels.shape[2] < 3 else pixels[..., :3]


def _draw_image(pixels: Pixels, title: str) -> Figure:
    """Return an image below its title, in a figure that is as large as they are."""
    high, wide = pixels.shape[:2]
    scale = min(HEIGHT / high, WIDEST / wide)
    width, height = scale * wide, scale * high
    with mpl.rc_context({**STYLE, "axes.grid": False, "figure.constrained_layout.use": False}):
        figure = Figure()
        axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    words = axes.set_title(title, fontsize=LABEL_SIZE, loc="left").get_window_extent()
    inches = max(width, words.width / figure.dpi) + 2 * MARGIN, height + words.height / figure.dpi + 4 * MARGIN
    figure.set_size_inches(inches)
    axes.set_position((MARGIN / inches[0], MARGIN / inches[1], width / inches[0], height / inches[1]))
    return figure


def _with_heat(pixels: Pixels, saliency: Map) -> Pixels:
    """Return an image with a copy to its right, over which a saliency map lies."""
    grey = pixels.mean(axis=2) if pixels.ndim == 3 else pixels
    opacity = STRONGEST * saliency[..., None]
    heated = opacity * 255 * colormaps[HEAT](saliency)[..., :3] + (1 - opacity) * grey[..., None]
    plain = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    gap = np.full((len(pixels), max(1, pixels.shape[1] // 40), 3), 255)
    return np.concatenate([plain, gap, heated], axis=1).astype(np.uint8)
