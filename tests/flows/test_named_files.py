"""Files that params name and that are overwritten: what was made of them is stale, for either door."""

import os
from pathlib import Path

import pytest
import torch
from dvc.repo import Repo
from torchvision.models import shufflenet_v2_x0_5

from tasks.versioning import Stages
from tests.support.golden import light
from tests.support.project import Project
from tests.support.results import one_sentence
from tests.support.servers import shared_prefect

NETWORK = """
from torch import nn

from parts.blocks import block


def make():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), block(), nn.Conv2d(8, 8, 3), block(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )
"""
BLOCK = "from torch import nn\n\n\ndef block():\n    return nn.{}()\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project that was run and recorded."""
    return light().copy(tmp_path / "clone")


def name(project: Project, **backbone: str) -> None:
    """Let params name another network or file, and run and record the stage that reads it."""
    params = project.params()
    params["backbone"] = backbone
    project.write_params(params)
    project.steps("fetch", "backbone")
    with project.entered(), Repo() as repo:
        for stage in ("fetch", "backbone"):
            repo.commit(stage, force=True)


def stale(project: Project) -> set[str]:
    """Return the stages that are stale by themselves, for DVC and for the flows alike."""
    stages = ["fetch", "prepare", "backbone"]
    with project.entered():
        with Repo() as repo:
            by_dvc = set(repo.status(targets=stages))
        assert set(Stages().stale(stages)) == by_dvc
        return by_dvc


def save_weights(file: Path, seed: int) -> None:
    """Write random weights of the network."""
    torch.manual_seed(seed)
    torch.save(shufflenet_v2_x0_5().state_dict(), file)


@pytest.mark.parametrize("inside", [True, False])
def test_weights_that_are_overwritten(project: Project, tmp_path: Path, inside: bool) -> None:
    """Another content of the file makes the backbone stale, and its time alone does not; so for files elsewhere."""
    file = project.root / "own.pth" if inside else tmp_path / "own.pth"
    save_weights(file, 0)
    name(project, name="shufflenet_v2_x0_5", weights="own.pth" if inside else str(file))
    assert stale(project) == set()
    os.utime(file, (1, 1))
    assert stale(project) == set()
    before = (project.root / "data/backbone/weights.safetensors").read_bytes()
    save_weights(file, 1)
    assert stale(project) == {"backbone"}
    project.steps("backbone")
    assert (project.root / "data/backbone/weights.safetensors").read_bytes() != before


def test_weights_that_are_renamed_or_gone(project: Project) -> None:
    """Params that name the new file are followed, though DVC fails on dangling links; without a file, one sentence."""
    save_weights(project.root / "old.pth", 0)
    name(project, name="shufflenet_v2_x0_5", weights="old.pth")
    (project.root / "old.pth").rename(project.root / "new.pth")
    name(project, name="shufflenet_v2_x0_5", weights="new.pth")
    assert stale(project) == set()
    (project.root / "new.pth").unlink()
    done = project.here("flows.finetune", "head_only", PREFECT_API_URL=shared_prefect())
    assert "new.pth" in one_sentence(done)


def test_a_module_that_is_overwritten(project: Project) -> None:
    """So is what it imports from beside it; and what reads the network is stale with it."""
    (project.root / "parts").mkdir()
    (project.root / "parts/blocks.py").write_text(BLOCK.format("ReLU"))
    (project.root / "nets.py").write_text(NETWORK)
    name(project, name="nets:make", weights="none")
    assert stale(project) == set()
    (project.root / "parts/blocks.py").write_text(BLOCK.format("GELU"))
    assert stale(project) == {"backbone"}
    with project.entered(), Repo() as repo:
        assert "race" in repo.status(targets=["race"])
    (project.root / "parts/blocks.py").write_text(BLOCK.format("ReLU"))
    (project.root / "nets.py").write_text(NETWORK + "\n\nX = 1\n")
    assert stale(project) == {"backbone"}
