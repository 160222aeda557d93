"""Files that are whole or absent, and digests."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.errors import UserError
from tasks.files import atomic_path, digest_of, digest_of_tree, read_json, sha256_of, write_bytes, write_json
from tests.support.paths import ROOT

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
OVER_THE_LIMIT = """
import resource, sys
from pathlib import Path
from tasks.errors import UserError
from tasks.files import atomic_path, write_bytes

def by_write_bytes(target):
    write_bytes(target, b"n" * 100_000)

def by_safetensors(target):
    import numpy as np
    from safetensors.numpy import save_file

    with atomic_path(target) as temporary:
        save_file({"weight": np.zeros(25_000)}, temporary)

resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    globals()[sys.argv[2]](Path(sys.argv[1]))
except UserError as error:
    print(error)
    sys.exit(2)
"""


DIES = """
import os, sys
from pathlib import Path
from tasks.files import atomic_path

with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    os._exit(9)
"""


class StoppedError(Exception):
    """Something that went wrong while a file was written."""


def test_file_appears_whole_at_the_end(tmp_path: Path) -> None:
    """Before the block ends there is the old content, after it the new, and never a bit of both."""
    target = tmp_path / "deep" / "er" / "model.bin"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"first")
        assert not target.exists()
    assert target.read_bytes() == b"first"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"sec")
        assert target.read_bytes() == b"first"
        assert temporary.name == target.name
    assert target.read_bytes() == b"sec"
    assert list(target.parent.iterdir()) == [target]


def test_folder_is_replaced_with_nothing_left_of_the_old(tmp_path: Path) -> None:
    """A folder that replaces another holds only its own files."""
    target = tmp_path / "images"
    for name in ("old.png", "new.png"):
        with atomic_path(target) as temporary:
            temporary.mkdir()
            (temporary / name).write_text(name)
    assert [path.name for path in target.iterdir()] == ["new.png"]
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [StoppedError, KeyboardInterrupt])
@pytest.mark.parametrize("there", [True, False])
def test_failing_block_leaves_the_old_file_and_no_litter(
    tmp_path: Path, error: type[BaseException], there: bool
) -> None:
    """After a block that raised, everything is as it was before."""
    target = tmp_path / "file"
    if there:
        target.write_text("old")

    def stopped_half_way() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        stopped_half_way()
    assert [path.name for path in tmp_path.iterdir()] == (["file"] if there else [])
    assert not there or target.read_text() == "old"


def test_failing_block_leaves_the_old_folder_and_no_litter(tmp_path: Path) -> None:
    """A folder, too, is whole or the old one."""
    target = tmp_path / "folder"
    target.mkdir()
    (target / "kept").write_text("old")

    def stopped_half_way() -> None:
        with atomic_path(target) as temporary:
            temporary.mkdir()
            (temporary / "half").write_text("new")
            raise StoppedError

    with pytest.raises(StoppedError):
        stopped_half_way()
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert [path.name for path in target.iterdir()] == ["kept"]


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path: Path) -> None:
    """And what another process that lives is writing stays."""
    target = tmp_path / "model.bin"
    subprocess.run([sys.executable, "-c", DIES, str(target)], cwd=ROOT, check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with atomic_path(target) as mine:
        mine.write_bytes(b"mine")
        write_bytes(target, b"another's")
        assert mine.exists()
    assert list(tmp_path.iterdir()) == [target]
    assert target.read_bytes() == b"mine"


def test_block_that_writes_nothing_keeps_the_old_file(tmp_path: Path) -> None:
    """A block that made no file fails, rather than removing the old one."""
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(FileNotFoundError), atomic_path(target):
        pass
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("writer", ["by_write_bytes", "by_safetensors"])
def test_full_disk_is_named_and_the_old_file_kept(tmp_path: Path, writer: str) -> None:
    """A write that the operating system cuts short is a sentence for the user, and the old file is intact."""
    target = tmp_path / "weights.bin"
    target.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", OVER_THE_LIMIT, str(target), writer],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stdout.startswith(f"no space left while writing {target}")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_disk_too_full_for_a_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that has no room even for the temporary folder is the same condition."""

    def full(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(UserError, match="no space left while writing"):
        write_bytes(tmp_path / "file", b"content")


def test_file_is_on_the_disk_before_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a crash of the machine there is the old content or all of the new, whoever wrote it."""
    target, synced = tmp_path / "weights.bin", []

    def fsync(file: int) -> None:
        synced.append((os.fstat(file).st_size, target.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"content")
    assert synced == [(7, False)]


def test_disk_that_fills_up_at_the_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems say only when a file is flushed that there was no space for it."""
    target = tmp_path / "weights.bin"
    target.write_bytes(b"old")

    def full(_: int) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=f"no space left while writing {target}"), atomic_path(target) as temporary:
        temporary.write_bytes(b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_what_may_not_be_written_is_named(tmp_path: Path, number: int) -> None:
    """The sentence has the reason and the path."""
    sentence = rf"^{os.strerror(number)}: /locked/file: let this user write there"
    with pytest.raises(UserError, match=sentence), atomic_path(tmp_path / "model.bin"):
        raise OSError(number, os.strerror(number), "/locked/file")


def test_other_failures_are_not_called_a_full_disk(tmp_path: Path) -> None:
    """An unrelated error of the operating system keeps its own name."""
    with pytest.raises(IsADirectoryError), atomic_path(tmp_path / "file"):
        raise IsADirectoryError(errno.EISDIR, "no")


@given(PLAIN)
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_json_comes_back(tmp_path: Path, content: Any) -> None:
    """Plain data is the same after it was written and read, and the file ends in a newline."""
    target = tmp_path / "content.json"
    write_json(target, content)
    assert read_json(target) == content
    assert target.read_bytes().endswith(b"\n")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_refuses_what_json_lacks(tmp_path: Path, number: float) -> None:
    """NaN isn't JSON: nothing is written, and what was there stays."""
    target = tmp_path / "metrics.json"
    write_json(target, {"loss": 1.0})
    with pytest.raises(ValueError, match="JSON"):
        write_json(target, {"loss": number})
    assert json.loads(target.read_text()) == {"loss": 1.0}


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_file_digest_is_that_of_its_bytes(tmp_path: Path, content: bytes) -> None:
    """The digest is the SHA-256 that every other tool gives."""
    target = tmp_path / "file"
    write_bytes(target, content)
    assert sha256_of(target) == hashlib.sha256(content).hexdigest()


def test_digest_of_nothing_is_the_published_one(tmp_path: Path) -> None:
    """The SHA-256 of an empty file is well known."""
    (tmp_path / "empty").touch()
    assert sha256_of(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@given(st.dictionaries(st.text(), PLAIN, min_size=2, max_size=5))
def test_digest_ignores_the_order_of_keys(content: dict[str, Any]) -> None:
    """Two mappings with the same content are the same thing."""
    assert digest_of(content) == digest_of(dict(reversed(content.items())))


@given(PLAIN, PLAIN)
def test_digest_tells_content_apart(one: Any, other: Any) -> None:
    """Digests are equal exactly where the JSON is."""
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (digest_of(one) == digest_of(other)) is same


def test_tree_digest_follows_names_and_contents(tmp_path: Path) -> None:
    """A tree's digest changes with a name or a content, and with nothing else."""

    def tree(name: str, **files: str) -> Path:
        folder = tmp_path / name
        for path, content in files.items():
            target = folder / "sub" / path.replace("_", ".")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        return folder

    reference = digest_of_tree(tree("one", a_py="1", b_py="2"), "*.py")
    assert digest_of_tree(tree("two", b_py="2", a_py="1", note_txt="ignored"), "*.py") == reference
    assert digest_of_tree(tree("three", a_py="1", b_py="3"), "*.py") != reference
    assert digest_of_tree(tree("four", a_py="1", c_py="2"), "*.py") != reference
    assert digest_of_tree(tree("five", a_py="1", b_py="2", c_py="3"), "*.py") != reference
    assert digest_of_tree(tmp_path / "five", "*.py", keep=lambda path: path.name != "c.py") == reference
