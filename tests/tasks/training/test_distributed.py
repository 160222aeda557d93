"""Two processes that train together end with what one process ends with, but for rounding."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from tasks.training.batches import Split
from tasks.training.distributed import Team
from tests.conftest import write_cells
from tests.flows.project import make_project
from tests.tasks.networks import split_cells
from tests.tasks.training import pair

TOLERANCE = 2e-4  # of a weight, after a few steps of SGD in float32
TRAINED: dict[str, Any] = {"train": "all", "lr": 0.003, "epochs": 2, "patience": 9, "optimizer": "sgd"}
KINDS: dict[str, dict[str, Any]] = {
    "statistics trained": TRAINED | {"batchnorm": "train", "lr": 0.0003, "epochs": 1},  # which amplify rounding
    "statistics frozen": TRAINED | {"batchnorm": "frozen"},
    "thaws in mid-run": TRAINED | {"gradual": 1, "epochs": 8},
    "stored activations": TRAINED | {"train": ["stages[-1]", "head"], "views": 2},
    "parts of batches": TRAINED | {"micro_batch": 3, "batchnorm": "frozen", "clip_norm": 1.0},
    "weighted, averaged": TRAINED | {"class_weights": True, "ema": 0.9},
}
FINETUNE = ("-m", "tasks", "finetune", "--strategy", "scratch")


@given(st.integers(1, 70), st.integers(1, 9), st.none() | st.integers(1, 40))
def test_every_image_is_run_once(count: int, size: int, micro_batch: int | None) -> None:
    """All processes' shares of a batch, one behind the other, are its pieces in their order."""
    teams = [Team(rank, size).shares(count, micro_batch) for rank in range(size)]
    run: list[int] = []
    for shares in zip(*teams, strict=True):
        assert len({(share.piece.start, share.piece.stop) for share in shares}) == 1
        run += [place for share in shares if share.counts for place in range(count)[share.rows]]
        assert all(range(count)[share.rows] for share in shares), "a process would have nothing to run"
    assert run == list(range(count))


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Split, Split]:
    """26 images to train on, which batches of 8 don't divide evenly, and 10 to validate."""
    folder = tmp_path_factory.mktemp("pair")
    return split_cells(write_cells(folder / "photos", 18), folder / "pixels.npy", 13)


@pytest.fixture(scope="module")
def ends(splits: tuple[Split, Split], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What one process ends with, and what two do."""
    alone, together = tmp_path_factory.mktemp("alone"), tmp_path_factory.mktemp("together")
    kinds = {name: (settings, *splits) for name, settings in KINDS.items()}
    pair.in_processes(1, pair.train_all, alone, kinds)
    pair.in_processes(2, pair.train_all, together, kinds)
    return alone, together


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_train_as_one(ends: tuple[Path, Path], kind: str) -> None:
    """Weights, statistics and losses; both processes have the same, to the bit."""
    one = load_file(ends[0] / kind / "0.safetensors")
    first, second = (load_file(ends[1] / kind / f"{rank}.safetensors") for rank in (0, 1))
    for name, tensor in one.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], tensor, rtol=0, atol=TOLERANCE, msg=lambda m, n=name: f"{n}: {m}")


def test_torchrun_and_the_params_give_one_processs_metrics(tmp_path: Path) -> None:
    """``train.processes: 2``, and torchrun: the same validation figures, one MLflow run, finished."""
    project = make_project(tmp_path / "clone", write_cells(tmp_path / "photos", 12))
    prepared = project.run(sys.executable, "-c", PREPARE)
    assert prepared.returncode == 0, prepared.stdout + prepared.stderr
    found = []
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    for processes, launcher in ((1, ()), (2, ()), (1, torchrun)):
        params = project.params()
        params["train"]["processes"] = processes
        project.write_params(params)
        done = project.run(sys.executable, *launcher, *FINETUNE)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("kept epoch") + done.stderr.count("kept epoch") == 1
        found.append(json.loads((project.root / "data/runs/scratch/metrics.json").read_text())["val"])
    assert found[1] == pytest.approx(found[0], abs=1e-3)
    assert found[2] == found[1]


PREPARE = """
from tasks.steps import backbone, data, fetch

fetch.fetch(), data.prepare(), backbone.backbone()
"""
