"""One cell of the matrix of families and strategies: what shall move moves, what is frozen does not."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from tasks.backbones import weights
from tasks.data.augmentation import Augmentation
from tasks.errors import UserError
from tasks.params import AugmentParams, StrategyParams
from tasks.strategies import adapters, assembly, freezing, planning
from tasks.strategies.freezing import FreezePlan, Group
from tasks.strategies.surgery import Adapted
from tasks.training import precision
from tasks.training.averaged_fits import fit_and_average
from tasks.training.device import Hardware, choose
from tasks.training.inference import predict
from tasks.training.job import TrainingJob
from tasks.training.measuring import Trial, measure, needs_measuring
from tasks.training.progress import Reporter
from tests.tasks.networks import strategy
from tests.tasks.strategies import slim
from tests.tasks.training.conftest import whole_split

CLASSES, IMAGES = 3, 12
EVERY = 4  # that many cells of the table there are for one that every run of the tests tries
STRATEGIES: dict[str, dict[str, Any]] = {
    "scratch": {"start": "random", "train": "all", "batchnorm": "train"},
    "head_only": {"train": "head"},
    "mlp_head": {"train": "head", "head": {"kind": "mlp", "hidden": 8}},
    "cosine_head": {"train": "head", "head": {"kind": "cosine"}},
    "new_layers": {"train": "head", "head": {"kind": "on_top", "hidden": 8}},
    "input_layer": {"train": ["stem", "head"]},
    "freeze_first": {"train": ["stages[1:]", "head"]},
    "last_stage": {"train": ["stages[-1]", "head"], "batchnorm": "train"},
    "surgical": {"train": ["stages[0]", "head"]},
    "full": {"train": "all"},
    "lp_ft": {"phases": [{"train": "head", "epochs": 1}, {"train": "all", "epochs": 1}]},
    "discriminative": {"train": "all", "lr": {"all": 1e-4, "stages": 1e-3, "head": 1e-2}},
    "layer_decay": {"train": "all", "layer_decay": 0.9},
    "gradual": {"train": ["stages[-1]", "head"], "gradual": 1, "epochs": 2},
    "milestones": {"milestones": {0: "head", 1: "stages[-1]"}, "epochs": 2},
    "norms_only": {"train": "all", "only": "norms", "batchnorm": "train"},
    "biases_only": {"train": "all", "only": "biases"},
    "auto_rgn": {"train": "all", "auto_rgn": True},
    "lr_finder": {"train": ["stages[-1]", "head"], "lr": "find"},
    "lora": {"train": "all", "adapters": {"kind": "lora", "rank": 2}},
    "loha": {"train": "all", "adapters": {"kind": "loha", "rank": 2}},
    "lokr": {"train": "all", "adapters": {"kind": "lokr", "rank": 2}},
    "ia3": {"train": "all", "adapters": {"kind": "ia3"}},
    "l2_sp": {"train": "all", "l2_sp": 0.01},
    "ema": {"train": "all", "ema": 0.9},
    "soup": {"train": ["stages[-1]", "head"], "soup": 2},
    "wise_ft": {"train": "all", "wise_ft": 0.5},
    "cut": {"train": ["stages[-1]", "head"], "cut": 1},
    "insert": {"train": "head", "insert": 1},
    "four_channels": {"train": "head"},
    "micro_batch": {"train": "all", "micro_batch": 2},
    "checkpointing": {"train": "all", "activation_checkpointing": True, "batchnorm": "train"},
    "half_frozen": {"train": ["stages[-1]", "head"], "precision": "auto", "frozen_precision": "bfloat16"},
}
WITHOUT_NORMS = ("alexnet", "squeezenet1_1")
REASONS = {("norms_only", family): "it has no norms" for family in WITHOUT_NORMS}
QUIET = Reporter("matrix", Console(quiet=True))


class Reader:
    """The process that reads what this one has saved."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def logits(self, folder: Path, **job: Any) -> torch.Tensor:
        """Return what the saved weights answer."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        print(json.dumps(job | {"logits": str(folder / "logits.npy")}), file=stdin, flush=True)
        assert stdout.readline().strip() == "done"
        return torch.from_numpy(np.load(folder / "logits.npy"))


class Case:
    """One family, fine-tuned by one strategy on a few random images."""

    def __init__(self, family: str, name: str, folder: Path) -> None:
        self.settings: StrategyParams = strategy(
            **{"epochs": 1, "lr": 0.003, "batch_size": 4, "weight_decay": 0.0, "warmup": 0.0, **STRATEGIES[name]}
        )
        self.architecture = slim.find(family)
        self.size = max(64, self.architecture.smallest)
        self.channels = 4 if name == "four_channels" else 3
        shape = (IMAGES, self.size, self.size, self.channels)
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        np.save(folder / "images.npy", images)
        self.split = whole_split(images, CLASSES)
        self.hardware: Hardware = choose(self.settings)
        self.folder = folder

    def made(self) -> tuple[Adapted, tuple[Group, ...]]:
        """Return the network before training and its groups."""
        return assembly.assemble(self.architecture, None, self.size, CLASSES, self.channels, self.settings)

    def plan(self) -> FreezePlan:
        """Return the plan, after measuring what it needs."""
        adapted, groups = self.made()
        measured = None
        if needs_measuring(self.settings):
            measured = measure(self.made, Trial(self.settings, 0.1, self.split, self.augment(), self.hardware)).measured
        return planning.plan(self.settings, groups, adapted.new, 0.1, measured)

    def augment(self) -> Augmentation:
        """Return changes of the images that keep their size."""
        return Augmentation(AugmentParams(), upright=False)

    def network(self, plan: FreezePlan) -> Adapted:
        """Return the network before training, its frozen weights in the precision that the strategy asks for."""
        adapted, _ = self.made()
        if self.settings.frozen_precision == "bfloat16":
            precision.lower(adapted.model, plan)
        return adapted


def check(family: str, name: str, reader: Reader, tmp_path: Path) -> None:
    """Fine-tune a family by a strategy: weights that train all move, all others are equal to the bit, and what was
    saved answers the same in another process.
    """
    case = Case(family, name, tmp_path)
    if (name, family) in REASONS:
        with pytest.raises(UserError, match="norms"):
            case.plan()
        pytest.skip(REASONS[name, family])
    plan = case.plan()
    before = case.network(plan)
    state = {key: tensor.clone() for key, tensor in before.model.state_dict().items()}
    frozen = plan.never_moved(update_statistics=case.settings.updates_statistics)
    digests = freezing.digests(before.model, frozen)

    job = TrainingJob(
        case.settings, plan, case.split, case.split, case.augment(), case.hardware, tmp_path / "checkpoint.safetensors"
    )
    trained = fit_and_average(lambda: case.network(plan), job, digests, QUIET, lambda _: None).adapted
    after = trained.model.state_dict()

    moved = {key for key, tensor in state.items() if not torch.equal(tensor, after[key])}
    assert moved.isdisjoint(frozen), "what is frozen is equal to the bit"
    trains = {
        key for group in plan.groups if plan.thaws_at(group.name) is not None
        for key in group.parameters if state[key].dim() > 1 or case.settings.only != "all"
    }  # fmt: skip
    still = trains - moved
    assert trains
    assert not still, f"of what trains these did not move: {sorted(still)[:5]}"

    logits = predict(trained, case.split, case.hardware)
    if case.settings.adapters:
        adapters.merge(trained.model)
    merged = predict(trained, case.split, case.hardware)
    assert logits.shape == (IMAGES, CLASSES)
    assert logits.isfinite().all()
    torch.testing.assert_close(merged, logits, rtol=1e-3, atol=1e-3)
    weights.save(trained.model.state_dict(), tmp_path / "model.safetensors")
    read = reader.logits(
        tmp_path, family=family, settings=case.settings.model_dump(), weights=str(tmp_path / "model.safetensors"),
        images=str(tmp_path / "images.npy"), classes=CLASSES, bfloat16=case.hardware.bfloat16,
    )  # fmt: skip
    assert torch.equal(read, merged), "saved weights answer the same to the bit"
    for file in tmp_path.glob("*.safetensors"):
        file.unlink()


def matrix_of(*families: str) -> Callable[..., None]:
    """Return the test of some families by every strategy; a file for some families each lets processes share them.

    Every fourth cell of the table, along its diagonals, is in the default tier, the others are slow.
    """
    cells = [
        pytest.param(family, name, marks=[] if (row + column) % EVERY == 0 else pytest.mark.slow)
        for row, family in enumerate(families)
        for column, name in enumerate(STRATEGIES)
    ]

    @pytest.mark.parametrize(("family", "name"), cells)
    def test_matrix(
        family: str, name: str, reader: Reader, tmp_path: Path, record_property: Callable[[str, object], None]
    ) -> None:
        """What trains moves, what is frozen is equal to the bit, and what was saved answers the same elsewhere."""
        record_property("matrix", [family, name])
        check(family, name, reader, tmp_path)

    return test_matrix
