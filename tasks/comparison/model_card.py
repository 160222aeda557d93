"""The champion's model card, in the format of Hugging Face (Mitchell et al., Model Cards for Model Reporting, 2019)."""

import re
from pathlib import Path

import jinja2

from tasks.comparison.schema import Comparison
from tasks.comparison.statistics import METRIC_NAMES
from tasks.files import write_bytes

TEMPLATE = "model_card.md"
FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "log_loss")
ELPV_LICENCE = "images CC BY-NC-SA 4.0"


def write(comparison: Comparison, target: Path) -> None:
    """Write the card of a comparison's champion."""
    winner = comparison.leader
    figures = {name: value for name in FIGURES if (value := getattr(winner.tested, name)) is not None}
    licences = [
        f"backbone {comparison.backbone['licence']}",
        *([ELPV_LICENCE] if comparison.data.source == "elpv" else []),
    ]
    environment = jinja2.Environment(  # noqa: S701 - Markdown, in which names are shown as they are
        loader=jinja2.FileSystemLoader(Path(__file__).parent), undefined=jinja2.StrictUndefined
    )
    environment.filters["plain"] = _plain
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "sort_keys": True}
    page = environment.get_template(TEMPLATE).render(
        comparison=comparison,
        winner=winner,
        figures=figures,
        metric=METRIC_NAMES[comparison.metric],
        licence="; ".join(licences),
    )
    write_bytes(target, page.encode())


def _plain(text: str) -> str:
    """Return text that neither Markdown nor HTML takes for its own."""
    return " ".join(re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", text).split())
