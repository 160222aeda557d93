"""Small fine-tunings on real images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from rich.console import Console

from tasks.data.augmentation import Augmentation
from tasks.params import AugmentParams
from tasks.strategies.surgery import Adapted
from tasks.training.batches import Split
from tasks.training.device import Hardware
from tasks.training.job import TrainingJob
from tasks.training.loop import fit
from tasks.training.progress import Reporter
from tests.tasks.networks import network, split_cells, strategy

CPU = Hardware(torch.device("cpu"), bfloat16=False)
ALWAYS, NEVER = 0.0, 1e9  # seconds between checkpoints
STEPS = 6  # of an epoch: 48 images in batches of 8
HEAD_THEN_ALL: dict[str, Any] = {
    "phases": [{"train": "head", "epochs": 2, "lr": 0.01}, {"train": ["stages[2:]", "head"], "epochs": 2, "lr": 0.003}]
}


class Splits(NamedTuple):
    """What a fine-tuning sees."""

    train: Split
    val: Split


class Job(NamedTuple):
    """A network and what to do with it."""

    adapted: Adapted
    training_job: TrainingJob

    def fit(self, on_epoch: Callable[[dict[str, float]], None] = lambda _: None) -> Any:
        """Fine-tune quietly; return the progress."""
        return fit(self.adapted, self.training_job, Reporter("test", Console(quiet=True)), on_epoch)

    def state(self) -> dict[str, torch.Tensor]:
        """Return copies of the network's tensors."""
        return {name: tensor.clone() for name, tensor in self.adapted.model.state_dict().items()}


MakeJob = Callable[..., Job]


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    """Return whether two states are equal to the bit."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def moved(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> set[str]:
    """Return the names of the tensors that differ."""
    return {name for name, tensor in left.items() if not torch.equal(tensor, right[name])}


def whole_split(images: np.ndarray[Any, Any], classes: int) -> Split:
    """Return all images of a store, in classes that take turns."""
    return Split(images, np.arange(len(images)), torch.arange(len(images)) % classes)


@pytest.fixture(scope="session")
def splits(cells: Path, tmp_path_factory: pytest.TempPathFactory) -> Splits:
    """48 training and 32 validation images at 32 pixels, both classes alike."""
    return Splits(*split_cells(cells, tmp_path_factory.mktemp("store") / "pixels.npy", 24))


@pytest.fixture
def job(splits: Splits, tmp_path: Path) -> MakeJob:
    """Make a fine-tuning from a strategy's settings; those of one ``place`` share a checkpoint."""

    def make(
        network_name: str = "shufflenet_v2_x0_5",
        place: str = "attempt",
        images: Split = splits.train,
        val: Split = splits.val,
        channels: int = 1,
        checkpoint_seconds: float = NEVER,
        **settings: Any,
    ) -> Job:
        chosen = strategy(**settings)
        adapted, plan = network(network_name, chosen, channels)
        augment = Augmentation(AugmentParams(), upright=False)
        checkpoint = tmp_path / place / "checkpoint"
        training_job = TrainingJob(
            chosen, plan, images, val, augment, CPU, checkpoint, checkpoint_seconds=checkpoint_seconds
        )
        return Job(adapted, training_job)

    return make


@pytest.fixture
def relabelled(splits: Splits) -> Split:
    """The training images with their classes swapped, to validate on: the better the training, the worse the loss."""
    return Split(splits.train.store, splits.train.rows, 1 - splits.train.targets)


@pytest.fixture
def unbalanced(splits: Splits) -> Split:
    """All training images of the first class, and a quarter of those of the second."""
    targets = splits.train.targets
    kept = np.concatenate([np.flatnonzero(targets == 0), np.flatnonzero(targets == 1)[::4]])
    return Split(splits.train.store, splits.train.rows[kept], targets[kept])
