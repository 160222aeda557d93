"""Folders that may not be written."""

import shutil
from pathlib import Path

import pytest

from tests.support.faults import COMPARE, REPRO, completes, ends_with_a_sentence, read_only, untrained

pytestmark = pytest.mark.system


@pytest.fixture
def prefect(tmp_path: Path) -> dict[str, str]:
    """A home of Prefect's that no fault meets."""
    return {"PREFECT_HOME": str(tmp_path / "prefect")}


def test_a_read_only_folder(tmp_path: Path, prefect: dict[str, str]) -> None:
    """By either door a sentence names it; once it may be written, the same command completes."""
    project = untrained(tmp_path / "clone")
    with read_only(project.root):
        for command in (REPRO, COMPARE):
            ends_with_a_sentence(project.run(*command, **prefect), "Read-only file system: .dvc", "clone/.dvc")
    shutil.rmtree(project.root / "data/fetched")
    with read_only(project.root / "data"):
        for command in (REPRO, COMPARE):
            ends_with_a_sentence(project.run(*command, **prefect), "Read-only file system: data/.fetched")
    completes(project, *COMPARE, **prefect)
