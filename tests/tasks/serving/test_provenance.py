"""What a champion was made from comes back from its folder; images that it has seen are found in another manifest."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.runs.challenge import unseen
from tasks.serving.provenance import HELD_OUT_IMAGES, Origin


def digests(*names: str) -> list[str]:
    """Return the SHA-256 of some names."""
    return [sha256(name.encode()).hexdigest() for name in names]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Digests and counts are the same, features of length 1; the same origin gives the same file."""
    features = np.random.default_rng(0).normal(size=(HELD_OUT_IMAGES + 1, 4)).astype(np.float32)
    made = Origin(frozenset(digests("a", "b")), frozenset(digests("c")), features, {"x": 2, "é": 1})
    made.write(tmp_path)
    first = (tmp_path / "origin.safetensors").read_bytes()
    made.write(tmp_path)
    assert (tmp_path / "origin.safetensors").read_bytes() == first
    read = Origin.read(tmp_path)
    assert (read.seen, read.tested, read.classes) == (made.seen, made.tested, made.classes)
    assert read.held_out.shape == (HELD_OUT_IMAGES, 4)
    assert np.linalg.norm(read.held_out, axis=1) == pytest.approx(1, abs=1e-3)
    assert read.is_known


def test_an_earlier_champion_has_none(tmp_path: Path) -> None:
    """Which is no error."""
    assert not Origin.read(tmp_path).is_known


def test_what_shows_the_same_counts_as_seen() -> None:
    """An image is known by its content, and so is the group that it is in; no group is no group."""
    table = pd.DataFrame(
        {"path": list("abcde"), "sha256": digests(*"abcde"), "group": ["1", "1", "", "", "2"]}, dtype="str"
    )
    assert unseen(table, frozenset(digests("a", "c", "z")))["path"].tolist() == ["d", "e"]
    assert unseen(table, frozenset())["path"].tolist() == list("abcde")
