"""Small networks with random weights, and splits of real images, for the tests of the rooms."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tasks.backbones import catalogue
from tasks.data.ingest import ingest
from tasks.params import DataParams, StrategyParams
from tasks.strategies import assembly, planning, surgery
from tasks.strategies.freezing import FreezePlan
from tasks.strategies.surgery import Adapted
from tasks.training.batches import Split

SIZE = 32


def strategy(**settings: Any) -> StrategyParams:
    """Return a strategy that trains in float32 on the CPU."""
    shared = {"device": "cpu", "precision": "float32", "batch_size": 8}
    return StrategyParams.model_validate(shared | settings)


def adapt(
    name: str, settings: StrategyParams, channels: int = 1, classes: int = 2, state: dict[str, Tensor] | None = None
) -> Adapted:
    """Return a network, with random weights unless told otherwise, adapted as a strategy asks for."""
    return surgery.adapt(catalogue.find(name), state, SIZE, classes, channels, settings)


def network(name: str, settings: StrategyParams, channels: int = 1, classes: int = 2) -> tuple[Adapted, FreezePlan]:
    """Return a network with random weights, adapted as a strategy asks for, and the strategy's plan."""
    adapted, groups = assembly.assemble(catalogue.find(name), None, SIZE, classes, channels, settings)
    return adapted, planning.plan(settings, groups, adapted.new, 0.1)


def split_cells(cells: Path, store: Path, train: int) -> tuple[Split, Split]:
    """Decode the images of both classes; the first ``train`` of each are trained on, the others validate."""
    paths = [path.relative_to(cells).as_posix() for path in sorted(cells.rglob("*.png"))]
    params = DataParams(source="folder", path=str(cells), size=SIZE)
    ingested = ingest(cells, paths, params, store, store.parent)
    targets = np.array([path.startswith("intact") for path in paths], dtype=np.int64)
    first = [np.flatnonzero(targets == c)[:train] for c in (0, 1)]
    rest = [np.flatnonzero(targets == c)[train:] for c in (0, 1)]
    pixels = np.load(ingested.store, mmap_mode="r")
    rows = [np.concatenate(chosen) for chosen in (first, rest)]
    training, validation = (Split(pixels, chosen, torch.from_numpy(targets[chosen])) for chosen in rows)
    return training, validation
