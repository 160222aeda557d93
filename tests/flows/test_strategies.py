"""Strategies beyond the shipped ones, through ``dvc repro`` as a user runs it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.flows.project import Project, make_project

STRATEGIES: dict[str, dict[str, Any]] = {
    "lora": {"train": "all", "adapters": {"kind": "lora", "rank": 2}, "lr": 0.003, "epochs": 1},
    "found": {"train": "head", "lr": "find", "epochs": 2, "soup": 2},
    "mixed": {
        "phases": [{"train": "head", "epochs": 2, "lr": 0.003}, {"train": "stages[-1]", "epochs": 1, "lr": 0.001}],
        "wise_ft": [0.3, 0.6],
        "ema": 0.9,
    },
    "rebuilt": {"train": ["stages[-1]", "head"], "cut": 1, "insert": 1, "lr": 0.001, "epochs": 1},
}


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, cells: Path) -> Project:
    """A project in which ``dvc repro`` compared them."""
    project = make_project(tmp_path_factory.mktemp("strategies") / "clone", cells)
    project.write_params(project.params() | {"strategies": STRATEGIES})
    done = project.run("dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


def read(project: Project, name: str) -> dict[str, Any]:
    """Return a JSON file of the project's data."""
    content: dict[str, Any] = json.loads((project.root / "data" / name).read_text(encoding="utf-8"))
    return content


def test_the_comparison_says_what_was_chosen(compared: Project) -> None:
    """Members of the soup and the share of the mixture; every strategy's plan, part by part."""
    results = read(compared, "reports/comparison.json")["strategies"]
    assert set(results) == set(STRATEGIES)
    assert set(results["found"]["chosen"]["soup_members"]) <= {0, 1}
    assert results["mixed"]["chosen"]["wise_ft_share"] in (0.3, 0.6)
    names = {name: [part["name"] for part in result["parts"]] for name, result in results.items()}
    assert any(part.endswith(".adapters") for part in names["lora"])
    assert names["rebuilt"][-2:] == ["new1", "head"]
    assert len(names["rebuilt"]) == len(names["found"])
    for result in results.values():
        assert all(len(part["rates"]) == len(result["phases"]) for part in result["parts"])
        assert all(any(part["rates"]) == (part["thaws_at"] is not None) for part in result["parts"])
    page = (compared.root / "data/reports/comparison.html").read_text(encoding="utf-8")
    assert "What trains when" in page


def test_plans_and_range_tests_are_pictures_in_mlflow(compared: Project) -> None:
    """Every run has its freeze plan as a picture and as data; the one that looked for a rate its curve, too."""
    artifacts = {path.name for path in compared.root.joinpath("mlruns").rglob("artifacts/**/*") if path.is_file()}
    assert {"freeze_plan.png", "range_test_1.png", "plan.json"} <= artifacts
    plans = [json.loads(path.read_text()) for path in compared.root.joinpath("mlruns").rglob("plan.json")]
    assert {plan["strategy"] for plan in plans} == set(STRATEGIES)
    assert all(plan["frozen"] for plan in plans), "the digest of every frozen tensor"


def test_adapters_are_merged_into_what_is_handed_over(compared: Project) -> None:
    """The saved weights have the plain network's names, statistics and head included."""
    from safetensors import safe_open

    tensors = {}
    for name in ("lora", "found"):
        with safe_open(compared.root / f"data/runs/{name}/model.safetensors", "pt") as file:
            tensors[name] = set(file.keys())
    assert tensors["lora"] == tensors["found"]
    assert any(name.endswith("running_mean") for name in tensors["lora"])
    assert "fc.weight" in tensors["lora"]
