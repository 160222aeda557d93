"""The project that both doors are tried on."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.project import Project, make_project


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory, cells: Path) -> Iterator[Project]:
    """A project after its first ``dvc repro``; tests take it from one consistent state to the next."""
    project = make_project(tmp_path_factory.mktemp("doors") / "clone", cells, {"seeds": 2, "shares": [0.5]})
    done = project.run("dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wins: validation AUROC" in done.stdout
    yield project
    shutil.rmtree(project.root)
