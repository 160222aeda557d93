"""The newest images, and what a retraining hands over, in a real repository with a real remote."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks import versioning
from tasks.errors import UnavailableError, UserError


def run(*command: str) -> str:
    """Run a command that must succeed, and return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a remote, whose folder of images is tracked and pushed."""
    root = tmp_path / "here"
    (root / "photos").mkdir(parents=True)
    monkeypatch.chdir(root)
    for name in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "a@b")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    run("git", "init", "-q")
    run("dvc", "init", "-q")
    run("dvc", "config", "core.analytics", "false")
    run("dvc", "remote", "add", "-q", "-d", "shared", str(tmp_path / "remote"))
    Path("photos/a.txt").write_text("first")
    run("dvc", "add", "-q", "photos")
    run("git", "add", "-A")
    run("git", "commit", "-q", "-m", "first")
    return root


def test_what_is_tracked_is_pushed_and_pulled(repository: Path) -> None:
    """What the cache lost comes back from the remote; images that only lie here are not taken away for it."""
    assert versioning.push() == 2
    assert versioning.push() == 0
    run("rm", "-rf", "photos", ".dvc/cache")
    assert versioning.update("photos") == "photos: pulled"
    assert Path("photos/a.txt").read_text() == "first"
    Path("photos/mine.txt").write_text("only here")
    with pytest.raises(UnavailableError, match="the newest version of photos could not be brought"):
        versioning.update("photos")
    assert Path("photos/mine.txt").read_text() == "only here"


def test_an_import_is_updated(repository: Path, tmp_path: Path) -> None:
    """A folder that came from elsewhere follows what is there now."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a.txt").write_text("old")
    run("dvc", "import-url", "-q", str(tmp_path / "source"), "imported")
    (tmp_path / "source/b.txt").write_text("new")
    assert versioning.update("imported") == "imported: updated from where it was imported"
    assert Path("imported/b.txt").read_text() == "new"


def test_what_is_not_tracked_is_named(repository: Path) -> None:
    """One sentence that says what to do."""
    Path("others").mkdir()
    with pytest.raises(UserError, match="does not track others: run 'dvc add'"):
        versioning.update("others")


def test_a_commit_takes_only_what_it_is_told(repository: Path) -> None:
    """What else is staged stays staged, and nothing is committed twice."""
    Path("dvc.lock").write_text("schema: '2.0'\n")
    Path("other.txt").write_text("staged by a person")
    run("git", "add", "other.txt")
    commit = versioning.commit([Path("dvc.lock"), Path("missing.txt")], "Retrain")
    assert commit == run("git", "rev-parse", "HEAD")
    assert run("git", "show", "--name-only", "--format=%s") == "Retrain\n\ndvc.lock"
    assert run("git", "diff", "--cached", "--name-only") == "other.txt"
    assert versioning.commit([Path("dvc.lock")], "Retrain") == ""
