"""Whole comparisons of images that are made so that the right verdict is known before.

Three handwritten digits lie on top of each other, a colour each. The backbone has learned to read the red one.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from tasks.backbones.from_callable import MEAN, STD
from tasks.comparison.schema import Comparison, StrategyResult
from tests.support.project import Project, make_project
from tests.support.results import read_comparison

NET = """
from torch import nn

def block(before, after, stride):
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())

def net():
    return nn.Sequential(
        block(3, 8, 1), block(8, 16, 2), block(16, 32, 2), block(32, 64, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )
"""
PARTS = {"stem": "0", "stages": [["1"], ["2"], ["3"]], "head": "6"}
SIDE = 32
PRETRAINING, OURS = slice(900), slice(900, None)  # of the digits
HELD_OUT = {"val": 400, "test": 300}

Pixels = npt.NDArray[np.uint8]
Digits = npt.NDArray[np.int64]


def drawn(count: int, digits: slice, seed: int) -> tuple[Pixels, Digits]:
    """Return images of shape (images, side, side, 3) and the digit in each of their channels."""
    every, rng = load_digits(), np.random.default_rng(seed)
    images, labels = every.images[digits] / 16, every.target[digits]
    chosen = rng.integers(len(labels), size=(count, 3))
    large = functional.interpolate(torch.from_numpy(images[chosen]).float(), (SIDE, SIDE), mode="bilinear")
    return (255 * large).round().byte().permute(0, 2, 3, 1).numpy(), labels[chosen]


def normalised(images: Pixels) -> Tensor:
    """Return images as a backbone of one's own takes them."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std


def pretrained(seed: int, steps: int = 400) -> nn.Module:
    """Return a network that reads the red digit."""
    scope: dict[str, Any] = {}
    exec(NET, scope)  # noqa: S102
    torch.manual_seed(seed)
    model: nn.Module = scope["net"]()
    images, digits = drawn(64 * steps, PRETRAINING, seed)
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.005, steps)
    for step in range(steps):
        batch = slice(64 * step, 64 * (step + 1))
        loss = functional.cross_entropy(model(normalised(images[batch])), torch.from_numpy(digits[batch, 0]))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return model.eval()


def planted(root: Path, model: nn.Module, images: Pixels, labels: Digits, strategies: dict[str, Any]) -> Project:
    """Return a project of labelled images, the first of them for training, whose backbone is the network."""
    photos, train = root / "photos", len(images) - sum(HELD_OUT.values())
    photos.mkdir(parents=True)
    names = [f"{place}.png" for place in range(len(images))]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(photos / name)
    splits = np.repeat(["train", *HELD_OUT], [train, *HELD_OUT.values()])
    table = pd.DataFrame({"path": names, "label": labels, "split": splits})
    table.to_csv(photos / "manifest.csv", index=False)
    project = make_project(root / "clone", photos)
    (project.root / "nets.py").write_text(NET)
    save_file(model.state_dict(), root / "digits.safetensors")
    params = project.params()
    params["data"] |= {"source": "manifest", "size": SIDE}
    params["split"]["near_duplicates"] = False
    params["backbone"] = {"name": "nets:net", "weights": str(root / "digits.safetensors"), "parts": PARTS}
    params["augment"]["flips"] = False
    project.write_params(params | {"strategies": strategies})
    return project


def compared(project: Project, *strategies: str) -> Comparison:
    """Return what a comparison finds, after all steps, or after those that the strategies named need."""
    if strategies:
        project.steps(*(f"finetune@{name}" for name in strategies), "compare")
    else:
        project.compare()
    return read_comparison(project)


def without_race(project: Project) -> Project:
    """Let every strategy be trained to its end."""
    params = project.params()
    params["train"]["budget"] = "none"
    project.write_params(params)
    return project


def familiar(root: Path, model: nn.Module, seed: int) -> Project:
    """Return a project of labels that are linear in the features: what the network sees, where it is surest.

    Of what ties, that wins which trains fewer weights.
    """
    images, _ = drawn(1500, OURS, seed)
    with torch.inference_mode():
        sure, seen = model(normalised(images)).softmax(1).max(1)
    chosen = sure.argsort(descending=True)[:1300].sort().values.numpy()
    everything = {"train": "all", "epochs": 8, "batch_size": 32}
    strategies = {
        "head_only": {"train": "head", "solver": "lbfgs"},
        "last_stage": {"train": ["stages[-1]", "head"], "lr": 0.01, "epochs": 8, "batch_size": 32},
        "full": everything | {"lr": 0.01},
        "hot": everything | {"lr": 0.1},
    }
    project = planted(root, model, images[chosen], seen.numpy()[chosen], strategies)
    params = project.params()
    params["compare"]["cheaper"] = ["trainable_parameters"]
    project.write_params(params)
    return project


def recoloured(root: Path, model: nn.Module, seed: int) -> Project:
    """Return a project of the very question that the network knows, on permuted and inverted channels."""
    images, digits = drawn(1300, OURS, seed)
    strategies = {
        "head_only": {"train": "head", "solver": "lbfgs"},
        "last_stage": {"train": ["stages[-1]", "head"], "lr": 0.01, "epochs": 10, "batch_size": 32},
        "early": {"train": ["stem", "head"], "lr": 0.03, "epochs": 10, "batch_size": 32},
    }
    return planted(root, model, 255 - images[..., [2, 0, 1]], digits[:, 0], strategies)


def scarce(root: Path, model: nn.Module, seed: int) -> Project:
    """Return a project with 20 training images of each class: is the red digit larger than the green one?"""
    images, digits = drawn(1000, OURS, seed)
    labels = (digits[:, 0] > digits[:, 1]).astype(np.int64)
    train = np.concatenate([np.flatnonzero(labels == label)[:20] for label in (0, 1)])
    chosen = np.concatenate([train, np.setdiff1d(np.arange(1000), train)[: sum(HELD_OUT.values())]])
    strategies = {
        "head_only": {"train": "head", "solver": "lbfgs"},
        "full": {"train": "all", "lr": 0.003, "batchnorm": "train", "epochs": 20, "patience": 20},
    }
    return planted(root, model, images[chosen], labels[chosen], strategies)


def tags(result: StrategyResult) -> set[str]:
    """Return what was found out about a strategy."""
    return {finding.tag for finding in result.findings}


@pytest.fixture(scope="module")
def backbone() -> nn.Module:
    """The pretrained network."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = pretrained(0)
    torch.set_num_threads(threads)
    return model


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder that is removed after the test."""
    yield tmp_path / "planted"
    shutil.rmtree(tmp_path)


def assert_cheapest_wins(comparison: Comparison) -> None:
    """A head suffices, and no more is trained than that; what scores as high costs more."""
    assert comparison.champion == "head_only", comparison.verdict
    other = comparison.strategies["last_stage"]
    assert other.tied or (other.stopped and other.stopped.may_tie)
    assert tags(comparison.strategies["head_only"]) == tags(comparison.strategies["full"]) == set()


def assert_repaired(project: Project, comparison: Comparison) -> None:
    """Ten times the rate is tagged, and what is suggested is as good as the rate that is right."""
    findings = comparison.strategies["hot"].findings
    (finding,) = (finding for finding in findings if finding.tag in {"rate_too_high", "diverged"})
    suggested = YAML(typ="safe").load(finding.configuration)["strategies"]
    params = project.params()
    params["strategies"] |= suggested
    project.write_params(params)
    after = compared(project, *suggested)
    (name,) = suggested
    auroc = {strategy: result.val.auroc or 0.0 for strategy, result in after.strategies.items()}
    assert auroc["hot"] < 0.9
    assert auroc[name] == pytest.approx(auroc["full"], abs=0.01)
    assert tags(after.strategies[name]) == set()


def assert_early_layers_win(comparison: Comparison) -> None:
    """No later layer mends what the first one does not let through."""
    assert comparison.champion == "early", comparison.verdict
    assert all(not comparison.strategies[name].tied for name in ("head_only", "last_stage"))


def assert_learned_by_heart(comparison: Comparison) -> None:
    """All weights are too many for so few images."""
    assert "overfitting" in tags(comparison.strategies["full"])
    assert "overfitting" not in tags(comparison.strategies["head_only"])


def test_labels_that_are_linear_in_the_features(backbone: nn.Module, place: Path) -> None:
    """The head alone wins where trained weights cost; ten times the right rate is tagged, and repaired as suggested."""
    project = familiar(place, backbone, 100)
    assert_cheapest_wins(compared(project))
    without_race(project).steps("race")  # which stops the rate that is too high before it shows
    comparison = compared(project, *project.params()["strategies"])
    assert_cheapest_wins(comparison)
    assert_repaired(project, comparison)


def test_images_that_differ_where_they_enter(backbone: nn.Module, place: Path) -> None:
    """Training the first layer wins."""
    assert_early_layers_win(compared(recoloured(place, backbone, 200)))


def test_few_images_are_learned_by_heart(backbone: nn.Module, place: Path) -> None:
    """Fine-tuning everything is said to overfit, once it is trained for so long."""
    assert_learned_by_heart(compared(without_race(scarce(place, backbone, 300))))
