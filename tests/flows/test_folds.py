"""Cross-validation of small folders: every strategy is trained once a fold, and what all folds answer chooses."""

import pandas as pd
import pytest

from tasks.comparison.schema import Comparison
from tests.support.cells import write_cells
from tests.support.project import PREPARE, Project, make_project, without_models
from tests.support.results import read_comparison


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of 2 x 6 images, whose number of folds they decide, prepared."""
    folder = tmp_path_factory.mktemp("few")
    project = make_project(folder / "clone", write_cells(folder / "photos", 6))
    params = project.params()
    del params["split"]["folds"]
    params["strategies"] = {"head_only": {"train": "head", "solver": "lbfgs"}}
    project.write_params(params)
    return project


@pytest.fixture(scope="module")
def said(few: Project) -> str:
    """What preparing and comparing step by step prints."""
    return few.compare()


@pytest.fixture(scope="module")
def by_steps(few: Project, said: str) -> Comparison:
    """The comparison of the project."""
    return read_comparison(few)


def manifest_of(project: Project) -> pd.DataFrame:
    """Return the prepared images."""
    return pd.read_parquet(project.root / "data/manifest.parquet")


def test_every_image_outside_the_test_split_is_answered_once(few: Project, by_steps: Comparison) -> None:
    """The champion is chosen by answers to all of them, each by a network that has not seen it."""
    table = manifest_of(few)
    outside = table[table["split"] != "test"]
    folds = outside["fold"].nunique()
    assert folds > 1
    assert by_steps.data.folds == folds
    for name, result in by_steps.strategies.items():
        assert result.val.images == len(outside) > (table["split"] == "val").sum()
        parts = [pd.read_parquet(file) for file in sorted((few.root / "data/runs" / name).rglob("predictions.parquet"))]
        assert len(parts) == folds
        assert sorted(pd.concat(parts)["path"]) == sorted(outside["path"])
        for part in parts:
            assert outside[outside["path"].isin(part["path"])]["fold"].nunique() == 1


def test_it_is_said(few: Project, said: str, by_steps: Comparison) -> None:
    """Preparing says why, the verdict and the report by how many folds and images."""
    assert "fewer than 30 independent images" in said
    assert "split.folds: false" in said
    outside = int((manifest_of(few)["split"] != "test").sum())
    assert f"{by_steps.data.folds}-fold cross-validation on {outside} images" in by_steps.verdict
    page = (few.root / "data/reports/comparison.html").read_text(encoding="utf-8")
    assert f"{by_steps.data.folds}-fold cross-validation on {outside} images" in " ".join(page.split())


def test_the_flow_does_the_same(few: Project, by_steps: Comparison, tmp_path_factory: pytest.TempPathFactory) -> None:
    """``flows.compare`` in a clone of its own trains on the same folds and comes to the same figures."""
    clone = make_project(tmp_path_factory.mktemp("flow") / "clone", few.root.parent / "photos")
    clone.write_params(few.params())
    with without_models():
        done = clone.here("flows.compare")
    assert done.returncode == 0, done.stdout + done.stderr
    comparison = read_comparison(clone)
    assert manifest_of(clone)["fold"].tolist() == manifest_of(few)["fold"].tolist()
    assert {name: result.val for name, result in comparison.strategies.items()} == {
        name: result.val for name, result in by_steps.strategies.items()
    }
    assert "everything was up to date" in clone.here("flows.compare").stdout


def test_one_split_is_validated_on_if_that_is_asked_for(few: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    """``split.folds: false`` divides nothing, however few the images are."""
    clone = make_project(tmp_path_factory.mktemp("one") / "clone", few.root.parent / "photos")
    clone.write_params(few.params() | {"split": few.params()["split"] | {"folds": False}})
    clone.steps(*PREPARE)
    assert set(manifest_of(clone)["fold"]) == {-1}
    clone.steps("probe", "race", "finetune@head_only")
    assert not list((clone.root / "data/runs/head_only/repeats").iterdir())
