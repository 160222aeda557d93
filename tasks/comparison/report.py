"""``comparison.html``: one self-contained page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from tasks.comparison.figures import confusions, curves, networks, photographs, plans, repeats, robustness, scores
from tasks.comparison.figures.lettering import Lettering
from tasks.comparison.figures.photographs import ReadImage, Saliency
from tasks.comparison.figures.reliability import draw_reliability
from tasks.comparison.figures.rendering import Picture, as_png, as_svg, save
from tasks.comparison.figures.style import Panels
from tasks.comparison.schema import Comparison
from tasks.comparison.statistics import METRIC_NAMES
from tasks.comparison.verdict import starred
from tasks.data.quality import Group, Quality, rows
from tasks.evaluation.predictions import probabilities_of, targets_of
from tasks.evaluation.probes import Pretence
from tasks.files import write_bytes

TEMPLATE = "report.html"
SMALL, PLAIN = 250, 600  # pixels of width: two side by side, and one, can be read on a phone
CLASSES, GROUPS = 30, 6  # rows of the contact sheets

Drawn = Mapping[str, Figure | Panels | None]  # by name; None: there is nothing to show


@dataclass(frozen=True)
class DataPage:
    """What the page says of the images.

    Attributes:
        quality: the counted data set.
        pretences: what a random split would have pretended; nothing if no images are in groups.
        table: the manifest.
        read_image: returns the pixels of an image by its path.
    """

    quality: Quality
    pretences: Sequence[Pretence]
    table: pd.DataFrame
    read_image: ReadImage


@dataclass(frozen=True)
class Embedded:
    """A picture inside the page.

    Attributes:
        picture: what is shown.
        kind: ``wide`` does not fit a phone, ``small`` fits it twice, ``legend`` has a line of its own, ``plain``.
    """

    picture: Picture
    kind: str


def write(
    comparison: Comparison, predictions: pd.DataFrame, data: DataPage, saliency: Saliency, target: Path, folder: Path
) -> list[Path]:
    """Write the page, and its pictures as files of their own; return the pictures.

    Args:
        comparison: what it is about.
        predictions: the champion's, on the test split.
        data: what is known of the images.
        saliency: returns which part of an image speaks for a class, to the champion.
        target: the page.
        folder: where the pictures go.
    """
    lettering = Lettering(comparison.data.classes)
    embedded = {
        **_embed(_diagrams(comparison, predictions), as_svg),
        **_embed(_photographs(comparison, predictions, data, saliency, lettering), as_png),
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template(TEMPLATE).render(
        comparison=comparison,
        metric=METRIC_NAMES[comparison.metric],
        starred=starred,
        losers=[result.name for result in comparison.strategies.values() if result.lost_race],
        pictures=embedded,
        numbered=lettering.numbered,
        quality=data.quality,
        quality_rows=rows(data.quality),
        pretences=data.pretences,
        few_classes=confusions.FEW_CLASSES,
        groups=sorted(comparison.leader.tested.groups),
    )
    write_bytes(target, page.encode())
    return [save([shown.picture for shown in panels], folder, name) for name, panels in embedded.items()]


def _diagrams(comparison: Comparison, predictions: pd.DataFrame) -> Drawn:
    classes = comparison.data.classes
    measured = {name: result.robustness for name, result in comparison.strategies.items() if result.robustness}
    return {
        "scores": scores.draw_scores(comparison),
        "costs": scores.draw_costs(comparison),
        "networks": networks.draw_networks(comparison),
        "speeds": networks.draw_speeds(comparison),
        "seeds": repeats.draw_seeds(comparison),
        "shares": repeats.draw_shares(comparison),
        "plans": plans.draw_plans(comparison),
        "curves": curves.draw_curves(comparison),
        "confusions": confusions.draw_confusions(comparison),
        "reliability": draw_reliability(
            targets_of(predictions, classes),
            probabilities_of(predictions, classes),
            comparison.leader.calibrated.temperature,
        ),
        "robustness": robustness.draw_robustness(measured, METRIC_NAMES[comparison.metric]) if measured else None,
    }


def _photographs(
    comparison: Comparison, predictions: pd.DataFrame, data: DataPage, saliency: Saliency, lettering: Lettering
) -> Drawn:
    classes, read_image = comparison.data.classes, data.read_image
    return {
        "mistakes": photographs.draw_mistakes(predictions, classes, read_image, saliency),
        "suspects": photographs.draw_suspects(comparison.suspect_labels, classes, read_image),
        "data_classes": photographs.draw_contact_sheet(_samples(data.table, lettering), read_image),
        "data_groups": (
            photographs.draw_contact_sheet(_groups(data.quality, lettering), read_image)
            if data.quality.groups
            else None
        ),
    }


def _embed(drawn: Drawn, render: Callable[[Figure], Picture]) -> dict[str, list[Embedded]]:
    """Return the pictures that there is something to show on, by name: legends first, then panel by panel."""
    embedded = {}
    for name, figures in drawn.items():
        if figures is None:
            continue
        panels = figures if isinstance(figures, Panels) else Panels([figures])
        legend = [Embedded(render(panels.legend), "legend")] if panels.legend else []
        embedded[name] = [*legend, *(_by_width(render(figure)) for figure in panels.figures)]
    return embedded


def _by_width(picture: Picture) -> Embedded:
    kind = "small" if picture.width <= SMALL else "plain" if picture.width <= PLAIN else "wide"
    return Embedded(picture, kind)


def _samples(table: pd.DataFrame, lettering: Lettering) -> list[tuple[str, list[str]]]:
    """Return images that are trained on, for a contact sheet with a row a class."""
    by_class = table[table["split"] == "train"].sort_values("path").groupby("label")["path"]
    return [
        (f"{lettering.of(str(label))} ({len(paths)} trained on)", photographs.spread(paths.tolist()))
        for label, paths in by_class
    ][:CLASSES]


def _groups(quality: Quality, lettering: Lettering) -> list[tuple[str, list[str]]]:
    """Return the largest groups and one that mixes classes, for a contact sheet with a row a group."""
    largest = quality.largest_groups
    mixed = [group for group in largest[GROUPS - 1 :] if len(group.classes) > 1][:1]
    shown = [*largest[: GROUPS - 1], *(mixed or largest[GROUPS - 1 : GROUPS])]
    return [
        (
            f"{lettering.of(group.name)}: {group.images} images of {_classes(group, lettering)}, {group.split}",
            group.paths,
        )
        for group in shown
    ]


def _classes(group: Group, lettering: Lettering) -> str:
    return lettering.of(next(iter(group.classes))) if len(group.classes) == 1 else f"{len(group.classes)} classes"
