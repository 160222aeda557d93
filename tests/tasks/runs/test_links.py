"""Images that DVC keeps as links into its cache, and other links."""

import shutil
from pathlib import Path

import pytest
from dvc.repo import Repo

from tasks import versioning
from tests.support.project import Project, make_project
from tests.support.results import one_sentence

IMAGES = 10  # of each class


@pytest.fixture
def project(tmp_path: Path, cells: Path) -> Project:
    """A project with images of its own in the folder ``photos``."""
    made = make_project(tmp_path / "clone", Path("photos"))
    for label in ("intact", "broken"):
        (made.root / "photos" / label).mkdir(parents=True)
        for image in sorted((cells / label).iterdir())[:IMAGES]:
            shutil.copy(image, made.root / "photos" / label)
    return made


def track(root: Path, kind: str, cache: Path | None = None) -> None:
    """Let DVC track the folder ``photos`` of a repository, with links of a kind and, if it is named, another cache."""
    with Repo(str(root)) as repo:
        with repo.config.edit() as settings:
            settings["cache"] = {"type": kind} | ({"dir": str(cache)} if cache else {})
        repo.config.load()
    with Repo(str(root)) as repo:
        repo.add(str(root / "photos"))


@pytest.mark.parametrize(("kind", "shared"), [("symlink", False), ("symlink", True), ("hardlink", False)])
def test_what_dvc_links_to_is_read(project: Project, tmp_path: Path, kind: str, shared: bool) -> None:
    """Every image is used, in this repository's cache as in one that is shared."""
    track(project.root, kind, tmp_path / "shared" if shared else None)
    links = [path.is_symlink() for path in (project.root / "photos").rglob("*.png")]
    assert links == [kind == "symlink"] * 2 * IMAGES
    assert f"{2 * IMAGES} images of 2 classes" in project.steps("prepare")


def test_images_that_another_repository_tracks(project: Project, tmp_path: Path) -> None:
    """A folder in another DVC repository may link to that one's cache."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Repo.init(str(elsewhere), no_scm=True).close()
    shutil.move(project.root / "photos", elsewhere / "photos")
    track(elsewhere, "symlink")
    params = project.params()
    params["data"]["path"] = str(elsewhere / "photos")
    project.write_params(params)
    assert f"{2 * IMAGES} images of 2 classes" in project.steps("prepare")


def test_other_links_are_for_those_who_ask(project: Project, tmp_path: Path) -> None:
    """Links to images elsewhere: refused with the param to set, and followed and counted with it."""
    shutil.move(project.root / "photos", tmp_path / "elsewhere")
    for label in ("intact", "broken"):
        (project.root / "photos" / label).mkdir(parents=True)
        for image in (tmp_path / "elsewhere" / label).iterdir():
            (project.root / "photos" / label / image.name).symlink_to(image)
    assert "'follow_links: true' under 'data' allows" in one_sentence(project.here("tasks", "prepare"))
    params = project.params()
    params["data"]["follow_links"] = True
    project.write_params(params)
    printed = project.steps("prepare")
    assert f"{2 * IMAGES} of {2 * IMAGES} files lie outside of photos" in printed
    assert f"{2 * IMAGES} images of 2 classes" in printed


def test_without_a_repository_there_is_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images may lie, and be read, where DVC knows nothing."""
    monkeypatch.chdir(tmp_path)
    assert versioning.cache_folders(tmp_path / "photos") == ()
