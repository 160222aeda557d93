"""Small fine-tunings on real images, through the project's own loop, in a second or less each."""

import itertools
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from torch import Tensor, nn

from tasks.backbones import catalogue
from tasks.data.augmentation import Augmentation
from tasks.evaluation.curves import Run
from tasks.params import AugmentParams, StrategyParams
from tasks.strategies import assembly, planning
from tasks.training.batches import Split
from tasks.training.device import Hardware
from tasks.training.inference import predict
from tasks.training.job import TrainingJob
from tasks.training.loop import DivergedError
from tasks.training.loop import fit as train
from tasks.training.progress import Reporter
from tests.support.cells import packaged_cells
from tests.tasks.networks import SIZE, split_cells, strategy

CPU = Hardware(torch.device("cpu"), bfloat16=False)
PRETRAINING_RATE = 0.1


class Splits(NamedTuple):
    """What a fine-tuning sees."""

    train: Split
    val: Split


class Fitted(NamedTuple):
    """A run, and the weights that it kept, from which another can start."""

    run: Run
    state: dict[str, Tensor]


Fit = Callable[..., Fitted]


def small(momentum: float = 0.1, features: int = 48) -> nn.Module:
    """Return a network of a stem, three stages and a head."""
    torch.manual_seed(0)

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        return [convolution, nn.BatchNorm2d(outputs, momentum=momentum), nn.ReLU()]

    layers = [*block(3, 16), *block(16, 24), *block(24, 32), *block(32, features)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, 10))


def sluggish() -> nn.Module:
    """Return the network with statistics that hardly move."""
    return small(momentum=0.001)


def narrow() -> nn.Module:
    """Return the network with few features for the head."""
    return small(features=4)


NETWORKS = {make.__name__: make for make in (small, sluggish, narrow)}


def kinds_of_cells(folder: Path, images: int, train: int) -> Splits:
    """Return images of monocrystalline and polycrystalline cells, which are told apart with ease, in three channels.

    Args:
        folder: where the photos go; it must not exist.
        images: of each kind.
        train: of each kind to train on; the others validate.
    """
    source = packaged_cells()
    table = pd.read_csv(source / "labels.csv", sep=r"\s+", header=None, names=["path", "probability", "kind"])
    for label, kind in (("intact", "mono"), ("poly", "poly")):
        (folder / label).mkdir(parents=True)
        for path in table[table["kind"] == kind]["path"].sample(images, random_state=0):
            shutil.copy(source / path, folder / label)
    splits = split_cells(folder, folder.with_name("pixels.npy"), train)
    return Splits(*(Split(np.repeat(split.store, 3, axis=3), split.rows, split.targets) for split in splits))


def few(split: Split, images: int, rare: int | None = None) -> Split:
    """Return so many images of each class of a split; of the second class fewer, where that is to be rare."""
    counts = (images, images if rare is None else rare)
    chosen = np.concatenate([np.flatnonzero(split.targets == c)[:count] for c, count in enumerate(counts)])
    return Split(split.store, split.rows[chosen], split.targets[chosen])


def mislabelled(splits: Splits, share: float) -> Splits:
    """Return the splits with a share of the labels, evenly spread over the images, turned into the other class."""

    def turned(split: Split) -> Split:
        steps = np.floor(np.arange(len(split) + 1) * share)
        wrong = torch.from_numpy(np.diff(steps) > 0)
        return Split(split.store, split.rows, torch.where(wrong, 1 - split.targets, split.targets))

    return Splits(*map(turned, splits))


def fitting_in(folder: Path) -> Fit:
    """Return a function that fine-tunes the small network, with a folder for its checkpoints."""
    count = itertools.count()

    def fit(
        name: str,
        splits: Splits,
        state: dict[str, Tensor] | None = None,
        network: str = "small",
        settings: StrategyParams | None = None,
        **changed: Any,
    ) -> Fitted:
        chosen = settings or strategy(**{"batch_size": 16, "batchnorm": "train", "patience": 50} | changed)
        start = state if chosen.start == "pretrained" else None
        architecture = catalogue.find(f"{__name__}:{network}")
        adapted, groups = assembly.assemble(architecture, start, SIZE, 2, 3, chosen)
        plan = planning.plan(chosen, groups, adapted.new, PRETRAINING_RATE)
        augment = Augmentation(AugmentParams(), upright=False)
        checkpoint = folder / str(next(count)) / "checkpoint"
        rows: list[dict[str, float]] = []
        probabilities = None
        try:
            job = TrainingJob(chosen, plan, splits.train, splits.val, augment, CPU, checkpoint)
            train(adapted, job, Reporter(name, Console(quiet=True)), rows.append)
            probabilities = predict(adapted, splits.val, CPU).double().softmax(1).numpy()
        except DivergedError:
            rate = max(plan.rates(len(rows)).values())
            rows.append({"epoch": len(rows), "train_loss": math.nan, "val_loss": math.nan, "learning_rate": rate})
        run = Run(
            name=name,
            settings=chosen,
            history=rows,
            phases=[phase.epochs for phase in plan.phases],
            thaws_at={group.name: plan.thaws_at(group.name) for group in plan.groups},
            train_counts=np.bincount(splits.train.targets.numpy(), minlength=2),
            targets=splits.val.targets.numpy(),
            probabilities=probabilities,
        )
        old_head = {
            key: tensor for key, tensor in NETWORKS[network]().state_dict().items() if key.startswith(adapted.head)
        }
        return Fitted(run, adapted.model.state_dict() | old_head)

    return fit
