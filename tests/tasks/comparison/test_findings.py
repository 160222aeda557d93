"""What is found out about strategies ends up beside them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tasks.comparison.findings import findings, suspect_labels
from tasks.params import Params, load_params
from tests.tasks.comparison.conftest import MakeEntrant

CLASSES = ["intact", "broken"]
STRATEGIES: dict[str, Any] = {"full": {"train": "all", "lr": 0.001, "epochs": 8}}


@pytest.fixture
def params(tmp_path: Path) -> Params:
    """Params with one strategy."""
    with (tmp_path / "params.yaml").open("w") as stream:
        YAML().dump({"data": {"source": "folder", "path": "photos"}, "strategies": STRATEGIES}, stream)
    return load_params(tmp_path / "params.yaml")


def test_a_suggestion_can_be_pasted(entrant: MakeEntrant, params: Params, tmp_path: Path) -> None:
    """An overfitted run is tagged with its evidence, and what it suggests is a strategy that params.yaml takes."""
    one = entrant("full", 2.0)
    train, val = [0.6, 0.3, 0.1, 0.05, 0.02, 0.01, 0.01, 0.01], [0.6, 0.5, 0.7, 1.0, 1.4, 1.8, 2.0, 2.1]
    one.run["phases"][:] = [8]
    history = [
        {"epoch": float(e), "train_loss": t, "val_loss": v, "val_accuracy": 0.7, "learning_rate": 0.001}
        for e, (t, v) in enumerate(zip(train, val, strict=True))
    ]
    of_strategies = findings([replace(one, history=history)], params, CLASSES, {"intact": 20, "broken": 20})
    tags = {finding.tag: finding for finding in of_strategies["full"]}
    assert "overfitting" in tags
    suggested = tags["overfitting"].configuration
    assert suggested is not None
    (tmp_path / "next.yaml").write_text("data: {source: folder, path: photos}\n" + suggested)
    (name,) = load_params(tmp_path / "next.yaml").strategies
    assert name.startswith("full_")


def test_doubted_labels_name_their_images(entrant: MakeEntrant) -> None:
    """Labels that are swapped in a table of confident answers are among those that are doubted."""
    one = entrant("full", 9.0)
    swapped = one.val["label"].replace(dict(zip(CLASSES, CLASSES[::-1], strict=True)))
    one.val.loc[one.val.index[:3], "label"] = swapped[:3]
    doubted = suspect_labels(one, CLASSES)
    assert set(one.val["path"][:3]) <= {suspect.path for suspect in doubted}
    for suspect in doubted:
        assert suspect.suggested != suspect.label
