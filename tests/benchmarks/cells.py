"""Solar cells as the benchmarks train on them, decoded, without splits of a project."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from tasks.data.ingest import ingest
from tasks.params import DataParams
from tasks.training.batches import Split
from tests.support.cells import packaged_cells


def train_and_validation(folder: Path, images: int, held_out: int, size: int) -> tuple[Split, Split]:
    """Return solar cells to train on, and others to validate, both classes alike.

    Args:
        folder: takes the decoded images.
        images: that are trained on.
        held_out: that are validated.
        size: height and width in pixels.
    """
    root = packaged_cells()
    table = pd.read_csv(root / "labels.csv", sep=r"\s+", header=None, names=["path", "probability", "cell"])
    chosen = pd.concat([table[table["probability"] == p].head((images + held_out) // 2) for p in (0.0, 1.0)])
    params = DataParams(source="folder", path=str(root), size=size)
    ingested = ingest(root, chosen["path"].tolist(), params, folder / "pixels.npy", folder)
    targets = torch.tensor(chosen["probability"].tolist()).long()
    order = np.random.default_rng(0).permutation(len(chosen))
    store = np.load(ingested.store, mmap_mode="r")
    train, val = order[:images], order[images:]
    return Split(store, train, targets[train]), Split(store, val, targets[val])
