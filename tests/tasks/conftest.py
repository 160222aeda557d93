"""Images that small networks learn in seconds."""

import pytest

from tests.tasks.evaluation.fitting import Fit, Splits, fitting_in, kinds_of_cells


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    """240 training and 360 validation images of two kinds of cells; tests must not change them."""
    return kinds_of_cells(tmp_path_factory.mktemp("kinds") / "photos", 300, 120)


@pytest.fixture(scope="session")
def fit(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """Fine-tune the small network."""
    return fitting_in(tmp_path_factory.mktemp("fits"))
