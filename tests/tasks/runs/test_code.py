"""Which edits of the code make a fine-tuning another one."""

import shutil
from pathlib import Path

import pytest

from tasks.runs.code import EVERYTHING, FINE_TUNING, digest_of_code
from tests.support.paths import ROOT


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the code, to be edited."""
    shutil.copytree(ROOT / "tasks", tmp_path / "tasks", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("tasks/training/loop.py", True),
        ("tasks/strategies/heads.py", True),
        ("tasks/data/store.py", True),
        ("tasks/runs/fine_tuning.py", True),
        ("tasks/comparison/figures/curves.py", False),
        ("tasks/tracking/registry.py", False),
        ("tasks/steps/compare.py", False),
        ("tasks/files.py", False),
    ],
)
def test_only_code_that_trains_identifies_a_fine_tuning(house: Path, file: str, changes: bool) -> None:
    """A figure may be edited, and checkpoints and activations are still taken over."""
    before, everything = digest_of_code(FINE_TUNING, house), digest_of_code(EVERYTHING, house)
    with (house / file).open("a") as source:
        source.write("# edited\n")
    assert (digest_of_code(FINE_TUNING, house) != before) is changes
    assert digest_of_code(EVERYTHING, house) != everything


def test_a_source_that_comes_or_goes_is_an_edit(house: Path) -> None:
    """A new file of a folder counts; one that is named has to be there."""
    before = digest_of_code(FINE_TUNING, house)
    assert before == digest_of_code(FINE_TUNING)
    (house / "tasks/training/more.py").touch()
    assert digest_of_code(FINE_TUNING, house) != before
    (house / "tasks/data/store.py").unlink()
    with pytest.raises(FileNotFoundError):
        digest_of_code(FINE_TUNING, house)
