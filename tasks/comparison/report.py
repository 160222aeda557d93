"""``comparison.html``: one self-contained page."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from tasks.comparison import figures
from tasks.comparison.schema import Comparison, Part
from tasks.comparison.verdict import METRIC_NAMES
from tasks.files import replacing, write_bytes

TEMPLATE = "report.html"


def write(found: Comparison, predictions: pd.DataFrame, root: Path, target: Path, folder: Path) -> list[Path]:
    """Write the page, and its pictures as files of their own; return the pictures.

    Args:
        found: the comparison.
        predictions: the champion's, on the test split.
        root: the folder that the predictions' paths are relative to.
        target: the page.
        folder: where the pictures go.
    """
    drawn = {
        "scores": figures.scores(found),
        "costs": figures.costs(found),
        "plans": figures.plans(found),
        "curves": figures.curves(found),
        "confusions": figures.confusions(found),
        "mistakes": figures.mistakes(predictions, found.data.classes, root),
    }
    files = {name: save(figure, folder / f"{name}.png") for name, figure in drawn.items() if figure is not None}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template(TEMPLATE).render(
        found=found,
        metric=METRIC_NAMES[found.metric],
        pictures={name: base64.b64encode(file.read_bytes()).decode() for name, file in files.items()},
        groups=sorted({group for result in found.strategies.values() for group in result.test.groups}),
    )
    write_bytes(target, page.encode())
    return list(files.values())


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


def save(figure: Figure, target: Path) -> Path:
    """Write a figure as PNG, whole or not at all, and return its path."""
    with replacing(target) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    return target
