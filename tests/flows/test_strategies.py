"""Strategies beyond the shipped ones, as ``dvc repro`` leaves them."""

import json
from typing import Any

from safetensors import safe_open

from tests.support.golden import STRATEGIES
from tests.support.project import Project

LORA = {"lora": {"train": "all", "adapters": {"kind": "lora", "rank": 2}, "lr": 0.003, "epochs": 1}}


def read(project: Project, name: str) -> dict[str, Any]:
    """Return a JSON file of the project's data."""
    content: dict[str, Any] = json.loads((project.root / "data" / name).read_text(encoding="utf-8"))
    return content


def test_the_comparison_says_what_was_chosen(by_dvc: Project) -> None:
    """Members of the soup and the share of the mixture; every strategy's plan, part by part."""
    results = read(by_dvc, "reports/comparison.json")["strategies"]
    assert set(results) == set(STRATEGIES)
    assert set(results["mixed"]["chosen"]["soup_members"]) <= {0, 1}
    assert results["mixed"]["chosen"]["wise_ft_share"] in (0.3, 0.6)
    names = {name: [part["name"] for part in result["parts"]] for name, result in results.items()}
    assert names["scratch"][-2:] == ["new1", "head"]
    assert len(names["scratch"]) == len(names["head_only"])
    for result in results.values():
        assert all(len(part["rates"]) == len(result["phases"]) for part in result["parts"])
        for part in result["parts"]:
            assert any(rate is not None for rate in part["rates"]) == (part["thaws_at"] is not None)
    page = (by_dvc.root / "data/reports/comparison.html").read_text(encoding="utf-8")
    assert "What trains when" in page


def test_plans_and_range_tests_are_pictures_in_mlflow(by_dvc: Project) -> None:
    """Every run has its freeze plan as a picture and as data; the one that looked for a rate its curve, too."""
    files = [path for path in by_dvc.root.joinpath("mlruns").rglob("artifacts/**/*") if path.is_file()]
    names = [path.name for path in files]
    assert names.count("freeze_plan.png") == len(STRATEGIES)
    assert "range_test_1.png" in names
    plans = [json.loads(path.read_text()) for path in files if path.name == "plan.json"]
    assert {plan["strategy"] for plan in plans} == set(STRATEGIES)
    assert all(plan["frozen"] for plan in plans if plan["strategy"] != "scratch"), "the digest of every frozen tensor"


def test_adapters_are_merged_into_what_is_handed_over(small: Project) -> None:
    """They are parts of the plan; the saved weights have the plain network's names, statistics and head included."""
    small.write_params(small.params() | {"strategies": LORA})
    small.steps("race", "finetune@lora")
    plan = read(small, "runs/lora/run.json")
    assert any(part["name"].endswith(".adapters") for part in plan["parts"])
    with safe_open(small.root / "data/runs/lora/model.safetensors", "pt") as file:
        merged = set(file.keys())
    with safe_open(small.root / "data/runs/head_only/model.safetensors", "pt") as file:
        assert merged == set(file.keys())
    assert any(name.endswith("running_mean") for name in merged)
    assert "fc.weight" in merged
