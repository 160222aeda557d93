"""Small real data for every test: a slice of the packaged solar-cell images, sorted into a folder a class."""

import importlib.util
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

# Tests run side by side: one thread each, here and in the processes they start.
os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).parent.parent


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


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 2 x 40 real images; tests must not change it."""
    return write_cells(tmp_path_factory.mktemp("cells") / "photos", 40)
