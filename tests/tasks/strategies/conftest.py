"""A process that reads saved weights for the matrix of families and strategies."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.paths import ROOT
from tests.tasks.strategies.matrix import Reader


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    """A process that never saw a training."""
    command = [sys.executable, "-m", "tests.tasks.strategies.reader"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Reader(process)
        assert process.stdin is not None
        process.stdin.close()
