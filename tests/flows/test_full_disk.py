"""A full disk: one clear sentence, nothing half-written, and with more space the same command completes."""

import os
from pathlib import Path

import pytest

from tests.support.faults import COMPARE, REPRO, completes, ends_with_a_sentence, mounted, untrained

pytestmark = pytest.mark.system

MIB = 2**20


@pytest.fixture
def prefect(tmp_path: Path) -> dict[str, str]:
    """A home of Prefect's that no fault meets."""
    return {"PREFECT_HOME": str(tmp_path / "prefect")}


@pytest.mark.parametrize(("left", "command"), [(3, REPRO), (3, COMPARE)])
def test_a_full_disk(tmp_path: Path, prefect: dict[str, str], left: int, command: tuple[str, ...]) -> None:
    """On a file system with few MiB left one sentence says so; with more of them, the same command completes."""
    small = tmp_path / "small"
    small.mkdir()
    with mounted(small, "-t", "tmpfs", "-o", "size=300m", "tmpfs"):
        project, ballast = untrained(small / "clone"), small / "ballast"
        space = os.statvfs(small)
        ballast.write_bytes(bytes(space.f_bavail * space.f_frsize - left * MIB))
        ends_with_a_sentence(project.run(*command, **prefect), "No space left", "no space left", "disk is full")
        ballast.unlink()
        completes(project, *command, **prefect)
