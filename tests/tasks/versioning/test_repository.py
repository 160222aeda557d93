"""Folders in which DVC can't work, and paths that it can't record: the sentence says what to do, and that helps."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tasks.errors import UserError
from tasks.versioning import Stages, read_lock
from tests.support.paths import ROOT
from tests.support.project import Project, make_project
from tests.support.results import must, one_sentence


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


@pytest.fixture
def project(tmp_path: Path, cells: Path) -> Project:
    """A project in which nothing has run."""
    return make_project(tmp_path / "clone", cells)


def test_without_git_the_sentence_says_what_to_do_first(project: Project, cells: Path) -> None:
    """'dvc repro' does nothing there; with the command that is named, it works."""
    shutil.rmtree(project.root / ".git")
    sentence = one_sentence(project.here("tasks", "compare"))
    assert "run 'git init' first" in sentence
    must(project.run("git", "init", "-q"))
    assert "80 images of 2 classes" in must(project.run("dvc", "repro", "prepare"))
    assert "git init" not in one_sentence(project.here("tasks", "compare"))


def test_a_revision_without_git(project: Project) -> None:
    """There are none to list."""
    shutil.rmtree(project.root / ".git")
    params = project.params()
    params["data"] |= {"path": "photos", "rev": "v1"}
    project.write_params(params)
    assert "no git repository" in one_sentence(project.here("tasks", "fetch"))


def test_the_home_folder_by_either_door(project: Project, cells: Path) -> None:
    """A step expands it; DVC can't, and the sentence says what it takes."""
    params = project.params()
    params["data"]["path"] = f"~/{cells.name}"
    project.write_params(params)
    home = str(cells.parent)
    assert "80 images" in must(project.here("tasks", "prepare", HOME=home))
    refused = project.run("dvc", "repro", "prepare", HOME=home)
    assert refused.returncode != 0
    assert f"write 'path: {cells}'" in refused.stderr
