"""Real images: a slice of the packaged solar cells."""

import importlib.util
import shutil
from pathlib import Path

import pandas as pd


def packaged_cells() -> Path:
    """Return the folder that the package elpv-dataset keeps its images in."""
    spec = importlib.util.find_spec("elpv_dataset")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data"


def write_cells(target: Path, count: int) -> Path:
    """Write ``count`` intact and ``count`` broken solar cells as a folder a class; return the folder."""
    source = packaged_cells()
    table = pd.read_csv(source / "labels.csv", sep=r"\s+", header=None, names=["path", "probability", "cell"])
    for label, probability in (("intact", 0.0), ("broken", 1.0)):
        (target / label).mkdir(parents=True)
        for path in table[table["probability"] == probability]["path"][:count]:
            shutil.copy(source / path, target / label)
    return target
