"""The JSON Schema of params.yaml: the same keys as the pipeline knows, and every way to write a value."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tasks.params import load_params
from tasks.params.keys import PLACEHOLDERS, paths
from tasks.params.schema import schema_of_params
from tests.tasks.params.files import SMALLEST, refusal, written

SCHEMA = schema_of_params()
SECTIONS = [(*path, key.between) if key.between else path for path, key in paths() if key.section]


def marked(content: dict[str, Any]) -> list[str]:
    """Return what an editor marks in a params.yaml; of what may be one or the other, what is wrong with each."""
    errors = list(jsonschema.Draft7Validator(SCHEMA).iter_errors(json.loads(json.dumps(SMALLEST | content))))
    return [error.message for error in errors + [inner for error in errors for inner in error.context or ()]]


def holding(path: tuple[str, ...], key: str) -> dict[str, Any]:
    """Return sections in which a key stands at the end of a path."""
    content: Any = {key: 1}
    for name in reversed(path):
        content = [content] if name == PLACEHOLDERS[tuple] else {name: content}
    return dict(content)


def test_it_is_a_schema() -> None:
    """Editors understand it."""
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", SECTIONS, ids=".".join)
def test_a_misspelt_key_is_marked_and_refused(path: tuple[str, ...], tmp_path: Path) -> None:
    """In every section, however deep, by editors and by the pipeline alike."""
    content = holding(path, "mispelt")
    assert any("'mispelt' was unexpected" in message for message in marked(content))
    assert "mispelt' is not a known key" in refusal(written(tmp_path, **content))


WRITTEN: list[dict[str, Any]] = [
    {"train": {"lr": 0.1}},
    {"train": {"lr": "3e-5"}},
    {"train": {"lr": "pretraining / 10"}},
    {"train": {"lr": "find"}},
    {"train": {"size": "full"}, "strategies": {"a": {"train": "all", "size": 160, "full_size_epochs": 0}}},
    {"train": {"lr": {"all": 0.00001, "stages[3:]": "pretraining/10", "head": 0.001}}},
    {"train": {"budget": "1.5h", "shares": 0.5, "seeds": 2}},
    {"train": {"budget": 90, "shares": [0.1, 0.3]}},
    {"split": {"near_duplicates": False, "folds": False}},
    {"split": {"near_duplicates": 0.8, "folds": 5, "fold": 0}},
    {"data": {"source": "folder", "path": "p", "channels": 4, "upright": False, "range": [0, 4095]}},
    {"backbone": {"weights": "none", "leave_out": "fc\\..*", "mean": [0.5, 0.5, 0.5], "std": [1, 1, 1]}},
    {"backbone": {"parts": {"stem": "conv1", "stages": ["layer1", ["layer2", "layer3"]], "head": "fc"}}},
    {"run": {"ray": None}},
    {"strategies": {"a": {"milestones": {0: "head", 2: ["stages[3:]", "head"], 5: "all"}}}},
    {"strategies": {"a": {"phases": [{"train": "head", "solver": "lbfgs"}, {"train": ["all"], "lr": 0.1}]}}},
    {"strategies": {"a": {"train": "all", "wise_ft": 0.5, "ema": 0.99, "layer_decay": 0.7, "soup": 3}}},
    {"strategies": {"a": {"train": "all", "wise_ft": [0.25, 0.5], "start_size": 128, "gradual": 2}}},
    {"strategies": {"a": {"train": "all", "adapters": {"kind": "ia3", "targets": ["conv.*"]}}}},
    {"strategies": {"a": {"train": "all", "groups": {"early": ["features\\.[0-6]\\..*"], "late": "classifier.*"}}}},
    {"strategies": {"a": {"train": "all", "head": {"kind": "mlp"}, "stem": {"init": "repeat"}, "cut": 1, "insert": 1}}},
]


@pytest.mark.parametrize("content", WRITTEN, ids=str)
def test_every_way_to_write_a_value_is_accepted(content: dict[str, Any], tmp_path: Path) -> None:
    """By editors and by the pipeline alike."""
    assert marked(content) == []
    load_params(written(tmp_path, **content))


@pytest.mark.parametrize(
    "content",
    [
        {"train": {"lr": "fast"}},
        {"train": {"lr": 0}},
        {"train": {"lr": {"head": "find"}}},
        {"train": {"budget": "soon"}},
        {"train": {"shares": [1.5]}},
        {"train": {"size": "small"}},
        {"train": {"size": 8}},
        {"split": {"folds": 1}},
        {"split": {"near_duplicates": True}},
        {"backbone": {"sha256": "abc"}},
        {"backbone": {"mean": [0.5]}},
        {"compare": {"metric": "f1"}},
        {"data": {"source": "folder"}},
        {"strategies": {}},
        {"strategies": {"two words": {"train": "head"}}},
        {"strategies": {"a": {"milestones": {"soon": "head"}}}},
        {"strategies": {"a": {"train": []}}},
    ],
    ids=str,
)
def test_a_wrong_value_is_marked_and_refused(content: dict[str, Any], tmp_path: Path) -> None:
    """By editors and by the pipeline alike."""
    assert marked(content)
    refusal(written(tmp_path, **content))
