"""What a champion was made from, kept beside it: whoever holds another against it must know what it has seen."""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from sklearn.preprocessing import normalize

from tasks.arrays import Features
from tasks.files import atomic_path

FILE = "origin.safetensors"
CLASSES = "classes"
BYTES = 32  # of a SHA-256
HELD_OUT_IMAGES = 1000


@dataclass(frozen=True)
class Origin:
    """The images that a champion was made from, by the SHA-256 of their files.

    Attributes:
        seen: trained on, or validated on.
        tested: of its test split.
        held_out: features of images that were validated on, each of length 1, shape (images, features): what a
            network answers for those that it was trained on differs from what it answers for others like them.
        classes: number of images a class that it was trained on.
    """

    seen: frozenset[str] = frozenset()
    tested: frozenset[str] = frozenset()
    held_out: Features = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    classes: dict[str, int] = field(default_factory=dict)

    @property
    def is_known(self) -> bool:
        """Whether it was recorded: earlier champions have none."""
        return bool(self.seen)

    @classmethod
    def read(cls, folder: Path) -> "Origin":
        """Read what ``write`` left in a champion's folder; where there is nothing, it is not known."""
        file = folder / FILE
        if not file.is_file():
            return cls()
        with safetensors.safe_open(file, framework="numpy") as content:
            classes = json.loads(content.metadata()[CLASSES])
            seen, tested = (_digests(content.get_tensor(name)) for name in ("seen", "tested"))
            return cls(seen, tested, content.get_tensor("held_out").astype(np.float32), classes)

    def write(self, folder: Path) -> None:
        """Write it into a champion's folder."""
        tensors = {
            "seen": _bytes(self.seen),
            "tested": _bytes(self.tested),
            "held_out": normalize(self.held_out[:HELD_OUT_IMAGES]).astype(np.float16),
        }
        with atomic_path(folder / FILE) as temporary:
            safetensors.numpy.save_file(tensors, temporary, {CLASSES: json.dumps(self.classes, sort_keys=True)})


def _bytes(digests: Collection[str]) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return np.frombuffer(bytes.fromhex("".join(sorted(digests))), dtype=np.uint8).reshape(-1, BYTES)


def _digests(rows: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> frozenset[str]:
    return frozenset(row.tobytes().hex() for row in rows)
