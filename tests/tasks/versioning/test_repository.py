"""Folders in which DVC can't work: the sentence says what to run, and running it helps."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tasks.errors import UserError
from tasks.versioning import Stages, read_lock
from tests.support.paths import ROOT


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params and stages, as somebody copies it, and in it."""
    folder = tmp_path / "above/project"
    folder.mkdir(parents=True)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, folder / name)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("there", [[], ["git init -q"], ["git init -q ..", "rm -rf .dvc"], ["mkdir .dvc"]])
def test_what_is_advised_works(place: Path, there: list[str]) -> None:
    """In an empty folder, one of git, one in a folder of git's, and one whose .git was left behind."""
    for command in there:
        subprocess.run(shlex.split(command), check=True)
    with pytest.raises(UserError, match="this is no DVC repository") as caught:
        Stages()
    with pytest.raises(UserError, match=re.escape(str(caught.value))), read_lock():
        pass
    (advice,) = re.findall(rf"run '(.+)' in {re.escape(str(place))}$", str(caught.value))
    for command in advice.split(" && "):
        subprocess.run(shlex.split(command), check=True, capture_output=True)
    assert Stages().stale(["fetch"]) == ["fetch"]
