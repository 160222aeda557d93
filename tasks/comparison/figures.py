"""The pictures of a comparison, drawn without a display."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from tasks.comparison.lettering import Lettering
from tasks.comparison.schema import Comparison, Part, StrategyResult, SuspectLabel
from tasks.comparison.verdict import METRIC_NAMES, starred
from tasks.data.arrays import Pixels
from tasks.evaluation.predictions import probabilities_of
from tasks.evaluation.saliency import Map

mpl.use("Agg")

INK, MUTED, ACCENT, SECOND = "#1f2933", "#8a949e", "#0b6e99", "#d9822b"
FROZEN, THAWED = "#e8eef3", "YlOrBr"
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
FOLLOWED = {"val_loss": "validation loss", "val_accuracy": "validation accuracy"}
KEPT: dict[str, Any] = {"marker": "o", "color": ACCENT, "markersize": 5, "linestyle": "none"}
LAST: dict[str, Any] = KEPT | {"markerfacecolor": "white", "markersize": 6}
NARROW, WIDEST = 5.4, 10.6  # inches: can be read on a phone without scrolling; fits the page of a desktop
FEW_CLASSES = 12  # with more, the page has only one confusion matrix
SMALLEST_CELL = 0.17  # inches: below, there is no room for a figure
MISTAKES = 12
LONGEST = 14  # signs of a name beside a confusion matrix
HEAT, STRONGEST = "inferno", 0.75  # of a saliency map: its colours, and how opaque they are at most
LABEL_HEIGHTS = (0, 9, -9, 18, -18, 27, -27, 36, -36)  # points
LEADER = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.6}

Picture = Callable[[str], Pixels]
Saliency = Callable[[str, str], Map]  # of an image, by its path, and a class, by its name


def scores(found: Comparison) -> Figure:
    """Return every strategy's metric with its interval on both held-out splits, the champion marked."""
    ranked = list(found.strategies.values())
    figure, axes = _figure(NARROW, 0.36 * len(ranked) + 1.0)
    for split, colour, offset in (("val", ACCENT, -0.13), ("test", SECOND, 0.13)):
        for row, result in enumerate(ranked):
            value, bounds = result.figure(split, found.metric)
            if value is None or bounds is None:
                continue
            axes.plot(bounds, [row + offset] * 2, color=colour, linewidth=1.8, solid_capstyle="round")
            axes.plot(value, row + offset, "o", color=colour, markersize=5)
    axes.set_yticks(range(len(ranked)), [starred(result, found.champion) for result in ranked])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{METRIC_NAMES[found.metric]} with {found.confidence:.0%} bootstrap interval")
    handles = [Line2D([], [], color=colour, marker="o", markersize=5) for colour in (ACCENT, SECOND)]
    axes.legend(handles, ["validation", "test"], loc="best", frameon=False)
    return figure


def curves(found: Comparison) -> Figure:
    """Return every run by epoch, a panel each, and below all of them the epoch that was kept beside the last one."""
    ranked = list(found.strategies.values())
    columns = min(4, len(ranked))
    rows = -(-len(ranked) // columns)
    heights = (2.1 * rows + 0.4, 0.27 * len(ranked) + 0.9)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(max(2.3 * columns, 6.9), sum(heights)))
        above, below = figure.subfigures(2, 1, height_ratios=heights, squeeze=False).ravel()
        panels = above.subplots(rows, columns, squeeze=False).ravel()
        sides = below.subplots(1, 2)
    top = max(max(row["val_loss"] for row in result.history[1:] or result.history) for result in ranked)
    for axes, result in zip(panels, ranked, strict=False):
        _loss_curves(axes, result.history, result.best_epoch)
        axes.set_title(starred(result, found.champion), fontsize=9, loc="left")
        axes.set_ylim(0, top * 1.3)
        axes.set_xlabel("epoch", fontsize=8)
    for axes in panels[len(ranked) :]:
        axes.set_visible(False)
    above.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False)
    for axes, (column, name) in zip(sides, FOLLOWED.items(), strict=True):
        _kept_and_last(axes, ranked, column)
        axes.set_xlabel(name)
        axes.set_yticks(range(len(ranked)), [starred(result, found.champion) for result in ranked])
        axes.invert_yaxis()
    return figure


def _kept_and_last(axes: Axes, ranked: Sequence[StrategyResult], column: str) -> None:
    """Draw a line a strategy, from the last epoch's value to that of the epoch that was kept."""
    for place, result in enumerate(ranked):
        kept, last = result.history[result.best_epoch][column], result.history[-1][column]
        axes.plot((kept, last), (place, place), color=ACCENT, linewidth=1.2)
        axes.plot(last, place, **LAST)
        axes.plot(kept, place, **KEPT)
    axes.grid(visible=False, axis="y")
    axes.margins(y=0.5 / len(ranked))


def plans(found: Comparison) -> Figure:
    """Return what trains in which epoch of every strategy, a panel each, on one scale of learning rates."""
    ranked = list(found.strategies.values())
    columns = min(4, len(ranked))
    rows = -(-len(ranked) // columns)
    tallest = max(len(result.parts) for result in ranked)
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(2.3 * columns, (0.15 * tallest + 0.85) * rows + 0.7))
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
    shades = _shades([result.parts for result in ranked])
    for axes, result in zip(panels, ranked, strict=False):
        _plan(axes, result.parts, result.phases, shades)
        axes.set_title(starred(result, found.champion), fontsize=9, loc="left")
        axes.set_xlabel("epochs", fontsize=8)
        axes.tick_params(labelsize=8)
    for axes in panels[len(ranked) :]:
        axes.set_visible(False)
    _rate_scale(figure, list(panels), shades)
    return figure


def plan_of_run(parts: Sequence[Part], phases: Sequence[int]) -> Figure:
    """Return what trains in which epoch of one strategy, with every part's number of parameters."""
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(7.2, 0.24 * len(parts) + 1.1))
        axes = figure.subplots()
    shades = _shades([parts])
    _plan(axes, parts, phases, shades)
    axes.set_yticks(range(len(parts)), [f"{part.name}  {part.parameters:,}" for part in parts])
    axes.set_xlabel("epochs")
    _rate_scale(figure, [axes], shades)
    return figure


def range_test(curve: Sequence[tuple[float, float]], taken: float) -> Figure:
    """Return the loss against the learning rate of a range test, the rate that was taken marked."""
    figure, axes = _figure(5.0, 3.0)
    rates, losses = zip(*curve, strict=True)
    axes.plot(rates, losses, color=ACCENT)
    axes.axvline(taken, color=SECOND, linewidth=1.2)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate (the line marks the one taken)")
    axes.set_ylabel("smoothed training loss")
    return figure


def _shades(plans: Sequence[Sequence[Part]]) -> LogNorm:
    rates = [rate for parts in plans for part in parts for rate in part.rates if rate]
    lowest, highest = min(rates, default=1e-4), max(rates, default=1e-3)
    return LogNorm(lowest / 3, max(highest, lowest * 3))


def _plan(axes: Axes, parts: Sequence[Part], phases: Sequence[int], shades: LogNorm) -> None:
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


def _rate_scale(figure: Figure, panels: Sequence[Axes], shades: LogNorm) -> None:
    bar = figure.colorbar(ScalarMappable(shades, THAWED), ax=panels, location="bottom", fraction=0.04, aspect=40)
    bar.set_label("peak learning rate (pale grey: frozen, blue: solved at once)", fontsize=8)
    bar.ax.tick_params(which="both", labelsize=8)


def confusions(found: Comparison) -> Figure:
    """Return the confusion matrix of every strategy on the test split; with many classes, of the leader alone."""
    classes = found.data.classes
    ranked = list(found.strategies.values()) if len(classes) <= FEW_CLASSES else [found.leader]
    side = min(max(1.9, 0.42 * len(classes) + 0.8), WIDEST)
    columns = min(max(1, int(WIDEST / side)), 4, len(ranked))
    rows = -(-len(ranked) // columns)
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(side * columns + 0.6, (side + 0.3) * rows))
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, result in zip(panels, ranked, strict=False):
        confusion(axes, result.test.confusion, classes)
        axes.set_title(starred(result, found.champion), fontsize=9, loc="left")
    for axes in panels[len(ranked) :]:
        axes.set_visible(False)
    return figure


def costs(found: Comparison) -> Figure:
    """Return score against training seconds; the area of a dot grows with the share of trainable parameters.

    Efficient strategies have a ring.
    """
    figure, axes = _figure(NARROW, 3.6)
    axes.set_xscale("log")
    dots = []
    for result in sorted(found.strategies.values(), key=lambda result: -result.trainable_parameters):
        value = result.figure("val", found.metric)[0]
        if value is None:
            continue
        share, seconds = result.trainable_parameters / result.parameters, max(result.train_seconds, 0.01)
        colour, area = SECOND if result.name == found.champion else ACCENT, 30 + 300 * share
        ring = {"edgecolor": INK, "linewidth": 1.2} if result.efficient else {"linewidth": 0}
        axes.scatter(seconds, value, s=area, color=(colour, 0.45), **ring)
        dots.append(_Dot(f"{starred(result, found.champion)}  {share:.1%}", (seconds, value), math.sqrt(area) / 2))
    axes.margins(x=0.3, y=0.2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("training seconds, on a log scale")
    axes.set_ylabel(f"validation {METRIC_NAMES[found.metric]}")
    _label(figure, axes, dots)
    return figure


class _Dot(NamedTuple):
    """A dot that gets a label; its radius is in points."""

    words: str
    place: tuple[float, float]
    radius: float

    def box(self, figure: Figure, axes: Axes) -> Bbox:
        """Return what the dot covers, in the figure's pixels."""
        x, y = axes.transData.transform(self.place)
        reach = self.radius * figure.dpi / 72
        return Bbox.from_extents(x - reach, y - reach, x + reach, y + reach)


def _label(figure: Figure, axes: Axes, dots: Sequence[_Dot]) -> None:
    """Write every dot's label beside it, at the first height where it covers no other label, no dot and no axis."""
    figure.draw_without_rendering()
    taken = [dot.box(figure, axes) for dot in dots]
    for words, place, radius in dots:
        text = axes.annotate(words, place, (0, 0), textcoords="offset points", fontsize=8, va="center")
        for height, side in itertools.product(LABEL_HEIGHTS, (1, -1)):
            text.set(position=(side * (radius + 3), height), horizontalalignment="left" if side > 0 else "right")
            box = text.get_window_extent()
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
            if inside and not any(box.overlaps(other) for other in taken):
                break
        if abs(height) > radius:
            end = (side * (radius + 3), height)
            axes.annotate("", place, end, textcoords="offset points", arrowprops=LEADER)
        taken.append(box)


def mistakes(predictions: pd.DataFrame, classes: Sequence[str], picture: Picture, saliency: Saliency) -> Figure | None:
    """Return the images that were misclassified with the most confidence, or None if every image was right.

    Beside each is what speaks for the answer that it got.
    """
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    if wrong.empty:
        return None
    confidence = pd.Series(probabilities_of(wrong, classes).max(axis=1), index=wrong.index)
    worst = wrong.assign(confidence=confidence).sort_values("confidence", ascending=False, kind="stable")[:MISTAKES]
    shown = [
        (_beside(without_alpha(picture(path)), saliency(path, answer)), answer, sureness, label)
        for path, answer, sureness, label in worst[["path", "predicted", "confidence", "label"]].itertuples(index=False)
    ]
    lettering = Lettering(classes)
    return _answered(
        [
            (pixels, f"{lettering.of(answer)} {sureness:.2f}\nis {lettering.of(label)}")
            for pixels, answer, sureness, label in shown
        ],
        width=2.9,
    )


def suspects(found: Sequence[SuspectLabel], classes: Sequence[str], picture: Picture) -> Figure | None:
    """Return the images whose label is doubted, the least likely first, with what each is rather; None if none is."""
    if not found:
        return None
    lettering = Lettering(classes)
    titles = [
        f"labelled {lettering.of(one.label)}\nrather {lettering.of(one.suggested)} {one.probability:.2f}"
        for one in found[:MISTAKES]
    ]
    return _answered([(without_alpha(picture(one.path)), title) for one, title in zip(found, titles, strict=False)])


def _answered(shown: Sequence[tuple[Pixels, str]], width: float = 2.0) -> Figure:
    """Return images in rows, each below its title.

    Args:
        shown: pixels and title of each.
        width: of an image, in inches.
    """
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(width * columns, 1.85 * rows))
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    for axes, (pixels, title) in zip(panels, shown, strict=False):
        axes.set_axis_off()
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
        axes.set_title(title, fontsize=8, loc="left")
    return figure


def _beside(pixels: Pixels, found: Map) -> Pixels:
    """Return an image with a copy to its right, over which a saliency map lies."""
    grey = pixels.mean(axis=2) if pixels.ndim == 3 else pixels
    opacity = STRONGEST * found[..., None]
    below = opacity * 255 * colormaps[HEAT](found)[..., :3] + (1 - opacity) * grey[..., None]
    plain = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    gap = np.full((len(pixels), max(1, pixels.shape[1] // 40), 3), 255)
    return np.concatenate([plain, gap, below], axis=1).astype(np.uint8)


def confusion(axes: Axes, matrix: list[list[int]], classes: Sequence[str]) -> None:
    """Draw a confusion matrix: colours by share of the true class, figures by count where there is room for them."""
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.1)
    axes.set_xlabel("predicted", fontsize=8)
    axes.set_ylabel("true", fontsize=8)
    if axes.get_window_extent().height / STYLE["figure.dpi"] / len(classes) < SMALLEST_CELL:
        axes.set_xticks([])
        axes.set_yticks([])
        return
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.6 else INK
        axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    lettering = Lettering(classes)
    short = [lettering.of(label, LONGEST) for label in classes]
    axes.set_xticks(range(len(classes)), short, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(classes)), short, fontsize=8)


def of_run(history: list[dict[str, float]], best_epoch: int, matrix: list[list[int]], classes: Sequence[str]) -> Figure:
    """Return one strategy's losses and its confusion matrix on the validation split, side by side."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.0))
        left, right = figure.subplots(1, 2)
    _loss_curves(left, history, best_epoch)
    left.legend(frameon=False)
    left.set_xlabel("epoch")
    left.set_ylabel("loss")
    right.grid(visible=False)
    confusion(right, matrix, classes)
    return figure


def _loss_curves(axes: Axes, history: list[dict[str, float]], best_epoch: int) -> None:
    epochs = [row["epoch"] + 1 for row in history]
    axes.plot(epochs, [row["train_loss"] for row in history], color=MUTED, label="training loss")
    losses = [row["val_loss"] for row in history]
    axes.plot(epochs, losses, color=ACCENT, label="validation loss")
    axes.plot(epochs[-1], losses[-1], label="last epoch", **LAST)
    axes.plot(best_epoch + 1, losses[best_epoch], label="epoch that was kept", **KEPT)
    axes.set_xlim(0.5, max(epochs) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        return figure, figure.subplots()


def without_alpha(pixels: Pixels) -> Pixels:
    """Return pixels as matplotlib shows them: of shape (height, width) for grey, (height, width, 3) for colour."""
    return pixels[..., 0] if pixels.shape[2] < 3 else pixels[..., :3]
