"""Versions of the images: older ones come back with their results, by a checkout or beside the working copy."""

import json
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.revisions import prepared_clone
from tasks import layout
from tasks.errors import UserError
from tasks.params import Params, load_params
from tests.support.project import Project, make_project, without_models
from tests.support.results import must, one_sentence
from tests.support.servers import shared_prefect

STRATEGIES = {"head_only": {"train": "head", "lr": 0.01, "epochs": 5}}
WORKING_COPY = ("dvc.lock", "params.yaml", "photos.dvc", "data/manifest.parquet", "data/reports/comparison.json",
                "data/runs/head_only/metrics.json")  # fmt: skip


def commit(project: Project, tag: str) -> None:
    """Add the images to DVC, commit everything, and tag it."""
    must(project.run("dvc", "add", "-q", "photos"))
    must(project.run("git", "add", "-A"))
    must(project.run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", tag))
    must(project.run("git", "tag", tag))


def results_in(root: Path) -> dict[str, Any]:
    """Return the metrics of the only strategy on both splits, and the digest of the images."""
    comparison = json.loads((root / "data/reports/comparison.json").read_text())
    strategy = comparison["strategies"]["head_only"]
    return {"val": strategy["val"], "test": strategy["test"], "digest": comparison["data"]["digest"]}


def state(project: Project) -> dict[str, bytes]:
    """Return the contents of what a user has in the working copy."""
    photos = {path.relative_to(project.root).as_posix() for path in (project.root / "photos").rglob("*.png")}
    return {name: (project.root / name).read_bytes() for name in (*WORKING_COPY, *sorted(photos))}


def tags(project: Project, key: str) -> list[str]:
    """Return the values of a tag over all MLflow runs."""
    with sqlite3.connect(project.root / "mlflow.db") as database:
        rows = database.execute("SELECT value FROM tags WHERE key = ? ORDER BY value", (key,)).fetchall()
    return [value for (value,) in rows]


def check_out(project: Project, tag: str) -> None:
    """Bring a version of the images into the working copy, as DVC's documentation says."""
    must(project.run("git", "checkout", "-q", tag, "--", "photos.dvc"))
    must(project.run("dvc", "checkout", "-q", "photos.dvc"))


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory, cells: Path) -> Iterator[Project]:
    """A project with two versions of its images, ``v1`` and ``v2``, in which nothing has run."""
    project = make_project(tmp_path_factory.mktemp("revisions") / "clone", cells)
    params = project.params()
    params["data"] = {"source": "folder", "path": "photos", "size": 32}
    params["strategies"], params["compare"]["resamples"] = STRATEGIES, 100
    project.write_params(params)
    for tag, images in (("v1", slice(0, 20)), ("v2", slice(20, 30))):
        for label in ("intact", "broken"):
            (project.root / "photos" / label).mkdir(parents=True, exist_ok=True)
            for image in sorted((cells / label).iterdir())[images]:
                shutil.copy(image, project.root / "photos" / label)
        commit(project, tag)
    yield project
    shutil.rmtree(project.root)


@pytest.fixture(scope="module")
def recorded(tracked: Project) -> dict[str, dict[str, Any]]:
    """The results of each version, after which the project is at the second."""
    results = {}
    for tag in ("v1", "v2"):
        check_out(tracked, tag)
        with without_models():
            must(tracked.here("flows.compare", PREFECT_API_URL=shared_prefect()))
        results[tag] = results_in(tracked.root)
    return results


@pytest.mark.parametrize(
    ("rev", "data", "expected"),
    [
        ("v9", {}, "git knows no revision 'v9'"),
        ("v1", {"path": "pictures"}, "at the revision 'v1' neither DVC nor git tracks pictures"),
        ("v1", {"path": "/photos"}, "one that this repository tracks"),
        ("v1", {"source": "elpv", "path": "data/fetched/elpv"}, r"put the images into the repository \('dvc add'\)"),
    ],
)
def test_revisions_that_cannot_be_read(
    tracked: Project, monkeypatch: pytest.MonkeyPatch, rev: str, data: dict[str, str], expected: str
) -> None:
    """One sentence, and nothing left."""
    monkeypatch.chdir(tracked.root)
    params, files = tracked.params(), tracked.files()
    with pytest.raises(UserError, match=expected):
        prepared_clone(rev, Params.model_validate({**params, "data": {**params["data"], **data}}))
    assert tracked.files() == files


def test_a_mistake_is_a_sentence_and_status_2(tracked: Project) -> None:
    """By the command, too."""
    done = tracked.here("flows.compare", "--data-rev", "v9")
    assert done.returncode == 2
    assert "git knows no revision 'v9'" in one_sentence(done)


def test_the_params_can_name_a_revision(tracked: Project) -> None:
    """With ``data.rev``, what is fetched is the older version, though the newer one is checked out."""
    before, params = (tracked.root / "params.yaml").read_bytes(), tracked.params()
    params["data"]["rev"] = "v1"
    tracked.write_params(params)
    assert "40 files of photos" in tracked.steps("fetch")
    assert "nothing changed" in tracked.steps("fetch")
    older = {path.name for path in (tracked.root / "data/fetched/photos").rglob("*.png")}
    assert older < {path.name for path in (tracked.root / "photos").rglob("*.png")}
    (tracked.root / "params.yaml").write_bytes(before)


def test_a_clone_follows_and_keeps_what_its_runs_wrote(tracked: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later commit's code arrives in a clone that is there; what runs wrote into tracked files stays."""
    monkeypatch.chdir(tracked.root)
    place = prepared_clone("v1", load_params())
    (place / "prefect.yaml").write_text("written by a run")
    (tracked.root / "flows/new.py").write_text("")
    must(tracked.run("git", "add", "flows/new.py"))
    must(tracked.run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "code"))
    assert prepared_clone("v1", load_params()) == place
    assert (place / "flows/new.py").is_file()
    assert (place / "prefect.yaml").read_text() == "written by a run"
    assert not (tracked.root / "photos").is_symlink()
    assert (place / layout.ENGINES).resolve() == (tracked.root / layout.ENGINES).resolve(), "the machine is the same"
    shutil.rmtree(place)


@pytest.mark.system
def test_an_older_version_comes_back_with_its_results(tracked: Project, recorded: dict[str, dict[str, Any]]) -> None:
    """Check out the .dvc file, then the images, and repeat: the same metrics and digest, other than the newer ones."""
    assert recorded["v1"] != recorded["v2"]
    check_out(tracked, "v1")
    must(tracked.run("dvc", "repro"))
    assert results_in(tracked.root) == recorded["v1"]
    digests = {results["digest"] for results in recorded.values()}
    assert set(tags(tracked, "thawline.data_digest")) == digests
    assert len(digests) == 2
    check_out(tracked, "v2")


@pytest.mark.system
def test_an_older_version_beside_the_working_copy(tracked: Project, recorded: dict[str, dict[str, Any]]) -> None:
    """``--data-rev`` gives the older results, leaves the working copy as it is, and skips what it has done before."""
    project, at_v1 = tracked, (sys.executable, "-m", "flows.compare", "--data-rev", "v1")
    before, runs = state(project), len(tags(project, "thawline.data_digest"))
    said = must(project.run(*at_v1, PREFECT_API_URL=shared_prefect()))
    report = project.root / said.split("report of the revision v1: ")[1].split("\n")[0]
    assert report.is_file()
    assert results_in(report.parents[2]) == recorded["v1"]
    assert state(project) == before
    assert tags(project, "thawline.data_rev") == ["v1", "v1"]
    assert len(tags(project, "thawline.data_digest")) == runs + 2
    again = must(project.run(*at_v1, PREFECT_API_URL=shared_prefect()))
    for stage in ("fetch", "prepare", "backbone", "finetune@head_only", "compare"):
        assert f"skipped {stage}: up to date" in again
    assert len(tags(project, "thawline.data_rev")) == 2
