"""The model card says what the champion is, what it reached, and under which licences."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tasks.comparison import model_card
from tasks.comparison.schema import Comparison
from tests.tasks.comparison.conftest import MakeEntrant, comparison_of, ranked_of


def card_of(comparison: Comparison, folder: Path) -> tuple[dict[str, Any], str]:
    """Return the front matter and the text of a card."""
    model_card.write(comparison, folder / "README.md")
    _, front, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    matter: dict[str, Any] = YAML(typ="safe").load(front)
    return matter, text


def test_the_card_has_the_champions_figures(entrant: MakeEntrant, tmp_path: Path) -> None:
    """Front matter that programs read and tables that people read agree with the comparison."""
    comparison = comparison_of(ranked_of([entrant("full", 3.0), entrant("scratch", 0.5, start="random")]))
    matter, text = card_of(comparison, tmp_path)
    (result,) = matter["model-index"][0]["results"]
    scores = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert scores["accuracy"] == pytest.approx(comparison.leader.tested.accuracy, abs=1e-4)
    assert scores["auroc"] == pytest.approx(comparison.leader.tested.auroc, abs=1e-4)
    assert matter["pipeline_tag"] == "image-classification"
    assert comparison.verdict in text
    for group in ("mono", "poly"):
        assert f"| {group} (" in text
    for label in comparison.data.classes:
        assert f"| {label} | " in text
    assert comparison.leader.mlflow_run_id in text


def test_strange_names_break_neither_part(entrant: MakeEntrant, tmp_path: Path) -> None:
    """Quotes, colons and braces in a path stay what they are."""
    comparison = comparison_of(ranked_of([entrant("full", 3.0)]))
    path = 'pho"tos: {{ 1 }} #x'
    comparison = comparison.model_copy(update={"data": comparison.data.model_copy(update={"path": path})})
    matter, text = card_of(comparison, tmp_path)
    assert matter["model-index"][0]["results"][0]["dataset"]["name"] == path
    assert f"# full on {path}" in text


def test_the_solar_cells_licence_is_named(entrant: MakeEntrant, tmp_path: Path) -> None:
    """Whoever takes the model learns what its training images may be used for."""
    comparison = comparison_of(ranked_of([entrant("full", 3.0)]))
    comparison = comparison.model_copy(update={"data": comparison.data.model_copy(update={"source": "elpv"})})
    matter, text = card_of(comparison, tmp_path)
    assert "CC BY-NC-SA 4.0" in matter["license_name"]
    assert "CC BY-NC-SA 4.0" in text


def test_names_stay_in_their_cells(entrant: MakeEntrant, tmp_path: Path) -> None:
    """A class with a bar, a line break and mark-up in its name takes one cell, and is shown as text; so is a sun."""
    classes = ["a|b", "<img src=x>\nc"]
    comparison = comparison_of(ranked_of([entrant("full", 3.0, classes=classes)], classes), classes)
    comparison = comparison.model_copy(
        update={"data": comparison.data.model_copy(update={"path": "photos \U0001f31e"})}
    )
    matter, text = card_of(comparison, tmp_path)
    assert matter["model-index"][0]["results"][0]["dataset"]["name"] == "photos \U0001f31e"
    rows = [re.split(r"(?<!\\)\|", line) for line in text.split("| class |")[1].splitlines()[2:4]]
    assert [len(row) for row in rows] == [7, 7]
    assert "<img" not in text.replace("\\<img", "")
