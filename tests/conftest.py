"""Small real data for every test: a slice of the packaged solar-cell images, sorted into a folder a class."""

import importlib.util
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

# Tests run side by side: one thread each, here and in the processes they start.
os.environ["OMP_NUM_THREADS"] = "1"
# A shell's background job ignores Ctrl-C, and so would the programs that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

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


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the matrix of families and strategies as a table: a dot passed, a dash was skipped, a cross failed."""
    marks = {"passed": "·", "skipped": "-", "failed": "X", "error": "X"}
    cells: dict[tuple[str, str], str] = {}
    reasons: dict[str, None] = {}
    for outcome, mark in marks.items():
        for report in terminalreporter.stats.get(outcome, []):
            for key, (family, strategy) in (p for p in getattr(report, "user_properties", []) if p[0] == "matrix"):
                cells[strategy, family] = mark
                if outcome == "skipped":
                    reasons[f"{key}: {strategy} of {family}: {report.longrepr[2].removeprefix('Skipped: ')}"] = None
    if not cells:
        return
    strategies, families = (list(dict.fromkeys(names)) for names in zip(*cells, strict=True))
    width = max(map(len, strategies))
    terminalreporter.section("every family by every strategy (· passed, - skipped, X failed)")
    for place, family in enumerate(families):
        terminalreporter.write_line(" " * width + "  " + "│ " * place + "┌ " + family)
    for strategy in strategies:
        row = " ".join(cells.get((strategy, family), " ") for family in families)
        terminalreporter.write_line(f"{strategy:<{width}}  {row}")
    for reason in reasons:
        terminalreporter.write_line(reason)


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 2 x 40 real images; tests must not change it."""
    return write_cells(tmp_path_factory.mktemp("cells") / "photos", 40)
