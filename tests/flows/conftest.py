"""The projects on which both doors are looked at."""

import pytest

from tests.support.golden import golden, light
from tests.support.project import Project


@pytest.fixture(scope="session")
def by_dvc() -> Project:
    """The golden project after its first ``dvc repro``; tests must not change it."""
    return golden("dvc")[0]


@pytest.fixture(scope="session")
def by_flow() -> Project:
    """The golden project after its first ``python -m flows.compare``; tests must not change it."""
    return golden("flow")[0]


@pytest.fixture(scope="module")
def golden_copy(by_dvc: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the golden project that the tests of a module take from one consistent state to the next."""
    return by_dvc.copy(tmp_path_factory.mktemp("own") / "clone")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of two strategies, run and recorded, that the tests of a module take from state to state."""
    return light().copy(tmp_path_factory.mktemp("small") / "clone")
