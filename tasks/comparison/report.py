"""``comparison.html``: one self-contained page."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from tasks.comparison import figures, reliability_figures, repeat_figures
from tasks.comparison.data_figures import CLASSES, GROUPS, contact_sheet, spread
from tasks.comparison.figures import Picture, Saliency
from tasks.comparison.lettering import Lettering
from tasks.comparison.schema import Comparison, Part
from tasks.comparison.verdict import METRIC_NAMES
from tasks.data.quality import Group, Quality, rows
from tasks.evaluation.predictions import probabilities_of
from tasks.evaluation.probed import Pretence
from tasks.evaluation.robustness import Robustness
from tasks.files import atomic_path, write_bytes

TEMPLATE = "report.html"
MARGIN = 0.03  # inches around a panel
PIXELS_AN_INCH = 100  # so that words in pictures are about as large as those around them
SMALL, PLAIN = 250, 600  # pixels of width: two side by side, and one, can be read on a phone
IN_PANELS = {"plans", "curves", "confusions", "robustness", "shares", "mistakes", "suspects"}


@dataclass(frozen=True)
class DataPage:
    """What the page says of the images.

    Attributes:
        quality: the counted data set.
        pretences: what a random split would have pretended; nothing if no images are in groups.
        table: the manifest.
        picture: returns the pixels of an image by its path.
    """

    quality: Quality
    pretences: Sequence[Pretence]
    table: pd.DataFrame
    picture: Picture


@dataclass(frozen=True)
class Embedded:
    """A picture inside the page.

    Attributes:
        png: as base64.
        width: in pixels, where there is room.
        height: in pixels, where there is room.
        kind: ``wide`` does not fit a phone, ``small`` fits it twice, ``legend`` has a line of its own, ``plain``.
    """

    png: str
    width: int
    height: int
    kind: str


def write(
    found: Comparison, predictions: pd.DataFrame, data: DataPage, saliency: Saliency, target: Path, folder: Path
) -> list[Path]:
    """Write the page, and its pictures as files of their own; return the pictures.

    Args:
        found: the comparison.
        predictions: the champion's, on the test split.
        data: what is known of the images.
        saliency: returns which part of an image speaks for a class, to the champion.
        target: the page.
        folder: where the pictures go.
    """
    lettering = Lettering(found.data.classes)
    drawn = _drawn(found, predictions, data, saliency, lettering)
    files = {name: save(figure, folder / f"{name}.png") for name, figure in drawn.items()}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template(TEMPLATE).render(
        found=found,
        metric=METRIC_NAMES[found.metric],
        pictures={name: _embedded(file, drawn[name], name in IN_PANELS) for name, file in files.items()},
        numbered=lettering.numbered,
        quality=data.quality,
        quality_rows=rows(data.quality),
        pretences=data.pretences,
        few_classes=figures.FEW_CLASSES,
        groups=sorted({group for result in found.strategies.values() for group in result.test.groups}),
    )
    write_bytes(target, page.encode())
    return list(files.values())


def _drawn(
    found: Comparison, predictions: pd.DataFrame, data: DataPage, saliency: Saliency, lettering: Lettering
) -> dict[str, Figure]:
    """Return the pictures that there is something to show on, by name."""
    drawn = {
        "scores": figures.scores(found),
        "costs": figures.costs(found),
        "seeds": repeat_figures.seeds(found),
        "shares": repeat_figures.shares(found),
        "plans": figures.plans(found),
        "curves": figures.curves(found),
        "confusions": figures.confusions(found),
        "reliability": _reliability(found, predictions),
        "robustness": _robustness(found),
        "mistakes": figures.mistakes(predictions, found.data.classes, data.picture, saliency),
        "suspects": figures.suspects(found.suspect_labels, found.data.classes, data.picture),
        "data_classes": contact_sheet(_samples(data.table, lettering), data.picture),
        "data_groups": contact_sheet(_groups(data.quality, lettering), data.picture) if data.quality.groups else None,
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _embedded(file: Path, figure: Figure, in_panels: bool) -> list[Embedded]:
    """Return a picture, or its legends and panels one by one, which flow into the columns that a page has room for."""
    if not in_panels:
        return [_shown(file.read_bytes(), tuple(figure.get_size_inches()))]
    legends = [legend.get_window_extent() for part in (figure, *figure.subfigs) for legend in part.legends]
    panels = [box for axes in figure.axes if axes.get_visible() and (box := axes.get_tightbbox())]
    with Image.open(file) as whole:
        return [_cut(whole, box, figure.dpi, legend=True) for box in legends] + [
            _cut(whole, box, figure.dpi) for box in panels
        ]


def _cut(whole: Image.Image, box: Bbox, dpi: float, *, legend: bool = False) -> Embedded:
    """Return a part of a picture, given what it covers in pixels from the lower left."""
    left, bottom, right, top = box.padded(MARGIN * dpi).extents
    upper, lower = max(0, int(whole.height - top)), min(whole.height, int(whole.height - bottom))
    part = whole.crop((max(0, int(left)), upper, min(whole.width, int(right)), lower))
    content = io.BytesIO()
    part.save(content, format="PNG")
    return _shown(content.getvalue(), (part.width / dpi, part.height / dpi), legend=legend)


def _shown(png: bytes, inches: Sequence[float], *, legend: bool = False) -> Embedded:
    width, height = (round(PIXELS_AN_INCH * side) for side in inches)
    kind = "legend" if legend else "small" if width <= SMALL else "plain" if width <= PLAIN else "wide"
    return Embedded(base64.b64encode(png).decode(), width, height, kind)


def _reliability(found: Comparison, predictions: pd.DataFrame) -> Figure:
    targets = np.asarray([found.data.classes.index(label) for label in predictions["label"]])
    probabilities = probabilities_of(predictions, found.data.classes)
    return reliability_figures.reliability(targets, probabilities, found.leader.calibration.temperature)


def _robustness(found: Comparison) -> Figure | None:
    measured = {name: Robustness(**r.robustness.model_dump()) for name, r in found.strategies.items() if r.robustness}
    return reliability_figures.robustness(measured, METRIC_NAMES[found.metric]) if measured else None


def run_figures(
    folder: Path,
    progress: dict[str, Any],
    plan: dict[str, Any],
    range_tests: Sequence[tuple[Sequence[tuple[float, float]], float]],
    scores: dict[str, Any],
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
        "run": figures.of_run(progress["history"], progress["best_epoch"], scores["confusion"], classes),
        "freeze_plan": figures.plan_of_run(parts, plan["phases"]),
    }
    drawn |= {f"range_test_{i}": figures.range_test(curve, taken) for i, (curve, taken) in enumerate(range_tests, 1)}
    return [save(figure, folder / f"{name}.png") for name, figure in drawn.items()]


def _samples(table: pd.DataFrame, lettering: Lettering) -> list[tuple[str, list[str]]]:
    """Return images that are trained on, for a contact sheet with a row a class."""
    seen = table[table["split"] == "train"].sort_values("path").groupby("label")["path"]
    return [(f"{lettering.of(str(label))} ({len(paths)} trained on)", spread(paths.tolist())) for label, paths in seen][
        :CLASSES
    ]


def _groups(quality: Quality, lettering: Lettering) -> list[tuple[str, list[str]]]:
    """Return the largest groups and one that mixes classes, for a contact sheet with a row a group."""
    largest = quality.largest_groups
    mixed = [group for group in largest[GROUPS - 1 :] if len(group.classes) > 1][:1]
    shown = [*largest[: GROUPS - 1], *(mixed or largest[GROUPS - 1 : GROUPS])]
    return [
        (f"{lettering.of(g.name)}: {g.images} images of {_classes(g, lettering)}, {g.split}", g.paths) for g in shown
    ]


def _classes(group: Group, lettering: Lettering) -> str:
    return lettering.of(next(iter(group.classes))) if len(group.classes) == 1 else f"{len(group.classes)} classes"


def save(figure: Figure, target: Path) -> Path:
    """Write a figure as PNG, whole or not at all, and return its path."""
    with atomic_path(target) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    return target
