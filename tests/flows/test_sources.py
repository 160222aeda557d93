"""Images that come from elsewhere: DVC remotes and addresses, in a folder and on an S3 server."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.buckets import NOBODY, bucket
from tests.support.project import Project, make_project
from tests.support.results import must, one_sentence

pytestmark = pytest.mark.system


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """What to set to use an S3 server with the bucket ``thawline``."""
    with bucket("thawline") as settings:
        yield settings


@pytest.fixture
def project(tmp_path: Path, cells: Path) -> Project:
    """A project whose own images DVC tracks, in a git commit."""
    made = make_project(tmp_path / "clone", cells)
    params = made.params()
    params["data"] = {"source": "folder", "path": "photos", "size": 32}
    made.write_params(params)
    for label in ("intact", "broken"):
        (made.root / "photos" / label).mkdir(parents=True)
        for image in sorted((cells / label).iterdir())[:6]:
            shutil.copy(image, made.root / "photos" / label)
    must(made.run("dvc", "add", "-q", "photos"))
    must(made.run("git", "add", "-A"))
    must(made.run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "images"))
    return made


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_remote_gives_back_what_was_pushed(project: Project, tmp_path: Path, s3: dict[str, str], kind: str) -> None:
    """``dvc push`` and, where neither images nor cache are, ``dvc pull``: the same images."""
    before = contents(project.root / "photos")
    address = "s3://thawline/remote" if kind == "s3" else str(tmp_path / "remote")
    must(project.run("dvc", "remote", "add", "-d", "shared", address))
    assert "pushed" in must(project.run("dvc", "push", **s3))
    for gone in ("photos", ".dvc/cache"):
        shutil.rmtree(project.root / gone)
    must(project.run("dvc", "pull", "photos.dvc", **s3))
    assert contents(project.root / "photos") == before
    assert len(before) == 12


def test_an_older_revision_is_fetched_from_a_remote(project: Project, tmp_path: Path) -> None:
    """What the cache lacks, the remote has; without one, the sentence says so, and nothing is left."""
    before = contents(project.root / "photos")
    params = project.params()
    params["data"]["rev"] = "HEAD"
    project.write_params(params)
    assert "data.rev 'HEAD' moves with later commits" in project.here("tasks", "fetch").stderr
    params["data"]["rev"] = commit = must(project.run("git", "rev-parse", "HEAD")).strip()
    project.write_params(params)
    shutil.copytree(project.root / ".dvc/cache", tmp_path / "cache")
    shutil.rmtree(project.root / ".dvc/cache")
    done = project.here("tasks", "fetch")
    assert done.returncode == 2
    assert f"photos at the revision '{commit}' is neither in DVC's cache nor at a remote" in one_sentence(done)
    assert project.files() == set()
    must(project.run("dvc", "remote", "add", "-d", "shared", str(tmp_path / "cache")))
    assert "12 files of photos" in project.steps("fetch")
    assert contents(project.root / "data/fetched/photos") == before


def test_a_folder_in_a_bucket_is_fetched(project: Project, s3: dict[str, str]) -> None:
    """``data.url: s3://...`` brings every image, once; another content is fetched again; an empty address is named."""
    import s3fs

    there = s3fs.S3FileSystem(**NOBODY, endpoint_url=s3["AWS_ENDPOINT_URL"], skip_instance_cache=True)
    there.put(str(project.root / "photos"), "thawline/set", recursive=True)
    params = project.params()
    params["data"] = {"source": "folder", "url": "s3://thawline/set", "path": "data/fetched/set", "size": 32}
    project.write_params(params)
    said = must(project.run("dvc", "repro", "fetch", **s3))
    assert "12 files of set" in said
    assert contents(project.root / "data/fetched/set") == contents(project.root / "photos")
    params["data"]["size"] = 48
    project.write_params(params)
    assert "nothing changed since it was fetched" in must(project.run("dvc", "repro", "fetch", **s3))
    image = next((project.root / "photos/intact").iterdir())
    there.put(str(image), "thawline/set/intact/another.png")
    assert "13 files of set" in must(project.run("dvc", "repro", "-f", "fetch", **s3))
    params["data"] |= {"url": "s3://thawline/nothing", "path": "data/fetched/nothing"}
    project.write_params(params)
    nothing = one_sentence(project.here("tasks", "fetch", **s3))
    assert "there is nothing at s3://thawline/nothing: correct data.url" in nothing
    assert (project.root / "data/fetched/set/intact/another.png").is_file()
