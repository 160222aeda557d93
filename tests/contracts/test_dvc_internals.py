"""What is used of DVC beyond its documented API: named, and held against the installed DVC, so that a new one is told.

DVC documents its commands and ``dvc.api``. Asking and recording stages without a process each takes more.
"""

import ast
import importlib
import inspect
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dvc.exceptions import DvcException, OutputNotFoundError
from dvc.lock import LockError, make_lock
from dvc.repo import Repo
from dvc.rwlock import rwlock
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from ruamel.yaml import YAML
from voluptuous import Invalid

from tests.support.paths import ROOT

PUBLIC = {"dvc.api.DVCFileSystem", "dvc.repo.Repo"}
# What is imported, and what for.
IMPORTED = {
    "dvc.exceptions.DvcException": "the class of every failure, which becomes a sentence",
    "dvc.exceptions.OutputNotFoundError": "raised where DVC doesn't track a path",
    "dvc.lock.LockError": "raised where another command of DVC is at work",
    "dvc.lock.make_lock": "the lock under which DVC edits the marks of its read-write lock",
    "dvc.rwlock.rwlock": "the marks by which commands of DVC keep each other from reading and writing",
    "dvc.schema.COMPILED_LOCKFILE_SCHEMA": "tells a dvc.lock that was cut short",
    "dvc_data.index.DataIndexDirError": "raised where neither cache nor remote has a tracked folder",
}
# What is called, and the parameters that are given by name or by position.
PARAMETERS = {
    "dvc.lock.make_lock": ("lockfile", "tmp_dir", "hardlink_lock"),
    "dvc.rwlock.rwlock": ("tmp_dir", "fs", "cmd", "read", "write", "hardlink"),
    "dvc.repo.Repo.__init__": ("root_dir", "rev", "config", "_wait_for_lock"),
    "dvc.repo.Repo.commit": ("target", "force"),
    "dvc.repo.Repo.find_outs_by_path": ("path", "strict"),
    "dvc.repo.Repo.find_root": ("root",),
    "dvc.repo.Repo.pull": ("targets",),
    "dvc.repo.Repo.push": (),
    "dvc.repo.Repo.status": ("targets",),
    "dvc.repo.Repo.update": ("targets",),
}
# What is read of a repository, and what for.
ATTRIBUTES = {
    "cache": "its local_cache_dir is shared with clones, and images may be links into it",
    "config": "the settings of cache and remotes, and core.hardlink_lock",
    "fs": "the file system that the marks lie in",
    "index": "its outs, which know how many files were recorded",
    "lock": "held by DVC wherever it has no marks",
    "root_dir": "the folder that the marks' paths begin with",
    "tmp_dir": "the folder of the marks",
}
SOURCES = sorted((ROOT / "tasks/versioning").glob("*.py"))
STAGE = {"cmd": "python -V", "deps": ["input.txt"], "outs": ["output.txt"]}


def nodes() -> Iterator[ast.AST]:
    """Yield every node of the sources that may import DVC."""
    for file in SOURCES:
        yield from ast.walk(ast.parse(file.read_text(encoding="utf-8")))


def resolve(name: str) -> Any:
    """Return what a dotted name stands for in the installed DVC."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            value = getattr(value, part)
        return value
    raise ModuleNotFoundError(name)


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repo]:
    """A repository with a stage that has made its output, which is not recorded."""
    monkeypatch.chdir(tmp_path)
    with Repo.init(str(tmp_path), no_scm=True) as made:
        YAML(typ="safe").dump({"stages": {"make": STAGE}}, Path("dvc.yaml"))
        Path("input.txt").write_text("in")
        Path("output.txt").write_text("out")
        yield made


def test_every_import_is_named() -> None:
    """Whoever imports more of DVC says here what for, and what is no longer imported is not listed."""
    imported = {
        f"{node.module}.{alias.name}"
        for node in nodes()
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in {"dvc", "dvc_data"}
        for alias in node.names
    }
    assert imported - PUBLIC == set(IMPORTED)
    assert not any(
        alias.name.split(".")[0] in {"dvc", "dvc_data"}
        for node in nodes()
        if isinstance(node, ast.Import)
        for alias in node.names
    )


def test_whatever_is_used_of_a_repository_is_named() -> None:
    """A method with its parameters, and an attribute with its purpose."""
    used = {
        node.attr
        for node in nodes()
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in {"repo", "Repo", "self._repo", "files.repo"}
    }
    methods = {name.rpartition(".")[2] for name in PARAMETERS if name.startswith("dvc.repo.Repo.")} - {"__init__"}
    assert used == methods | set(ATTRIBUTES)


@pytest.mark.parametrize("name", [*IMPORTED, *sorted(PUBLIC)])
def test_it_is_there(name: str) -> None:
    """The installed DVC has it under this name."""
    assert resolve(name) is not None


@pytest.mark.parametrize("name", PARAMETERS)
def test_it_takes_what_it_is_given(name: str) -> None:
    """By the parameters' names."""
    assert set(PARAMETERS[name]) <= set(inspect.signature(resolve(name)).parameters)


def test_failures_are_of_one_class() -> None:
    """So that one ``except`` makes a sentence of each."""
    assert issubclass(LockError, DvcException)
    assert issubclass(OutputNotFoundError, DvcException)


def test_a_repository_has_what_is_read(repo: Repo) -> None:
    """Under these names, and settings in these sections."""
    assert all(hasattr(repo, name) for name in ATTRIBUTES)
    assert Path(repo.cache.local_cache_dir).is_relative_to(repo.root_dir)
    assert {"core", "cache", "remote"} <= set(repo.config)
    assert Path(Repo.find_root(".")) == Path(repo.root_dir)


def test_what_is_committed_is_current(repo: Repo) -> None:
    """A stale stage is a key of the status, and an empty status means that nothing is to be done."""
    assert "make" in repo.status(targets=["make"])
    repo.commit("make", force=True)
    assert repo.status(targets=["make"]) == {}
    (recorded,) = YAML(typ="safe").load(Path("dvc.lock"))["stages"]["make"]["deps"]
    assert recorded["path"] == "input.txt"
    assert recorded["md5"]


def test_an_output_that_is_not_tracked_is_told(repo: Repo) -> None:
    """By the class that means that; one that is tracked knows its stage, and where that came from."""
    (out,) = repo.find_outs_by_path("output.txt", strict=False)
    assert (out.stage.addressing, out.stage.is_import, out.stage.is_repo_import) == ("make", False, False)
    assert out.use_cache
    assert Path(out.fs_path) == Path("output.txt").absolute()
    with pytest.raises(OutputNotFoundError):
        repo.find_outs_by_path("input.txt", strict=False)


def test_marks_are_written_as_they_are_read(repo: Repo) -> None:
    """Readers by path, each with its process and command, and none behind the block."""
    file = Path(repo.tmp_dir, "rwlock")
    with rwlock(repo.tmp_dir, repo.fs, "a command", [f"{repo.root_dir}/data"], [], False):
        marks = json.loads(file.read_text())
        assert marks["read"] == {f"{repo.root_dir}/data": [{"pid": os.getpid(), "cmd": "a command"}]}
    assert not json.loads(file.read_text()).get("read")


def test_what_somebody_reads_can_not_be_written(repo: Repo) -> None:
    """While the reader's process is there; the parent of this one is."""
    mark = {"pid": os.getppid(), "cmd": "a command"}
    Path(repo.tmp_dir, "rwlock").write_text(json.dumps({"read": {f"{repo.root_dir}/data": [mark]}, "write": {}}))
    with pytest.raises(LockError), rwlock(repo.tmp_dir, repo.fs, "dvc repro", [], [f"{repo.root_dir}/data/a"], False):
        pass


def test_marks_are_edited_by_one_at_a_time(repo: Repo) -> None:
    """A lock that is held is refused to whoever asks for it again."""
    place = str(Path(repo.tmp_dir, "rwlock.lock"))
    with make_lock(place, tmp_dir=repo.tmp_dir, hardlink_lock=False):
        again = make_lock(place, tmp_dir=repo.tmp_dir, hardlink_lock=False)
        with pytest.raises(LockError):
            again.lock()


@pytest.mark.parametrize("cut_short", [None, "schema", {"schema": "2.0", "stages": {"make": {"deps": 1}}}])
def test_the_schema_tells_a_file_that_was_cut_short(cut_short: Any) -> None:
    """An empty one, and one that ends within an entry."""
    complete = {"schema": "2.0", "stages": {"make": {"cmd": "true"}}}
    assert COMPILED_LOCKFILE_SCHEMA(complete) == complete
    with pytest.raises(Invalid):
        COMPILED_LOCKFILE_SCHEMA(cut_short)
