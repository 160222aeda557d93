"""What a training has shown of itself where it paused or ended: what its kept weights answer to validation images."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from tasks.arrays import Floats
from tasks.files import write_bytes


@dataclass(frozen=True)
class Rung:
    """A look at a training.

    Attributes:
        probabilities: of the validation images by the weights that would be handed over, shape (images, classes).
        steps: behind it, over all epochs.
        seconds: of training behind it.
        is_over: whether the training has come to its end.
    """

    probabilities: Floats
    steps: int
    seconds: float
    is_over: bool

    @classmethod
    def of(cls, logits: Tensor, steps: int, seconds: float, *, is_over: bool) -> "Rung":
        """Return a look whose answers are given as logits, float32 of shape (images, classes)."""
        return cls(logits.double().softmax(1).numpy(), steps, seconds, is_over)

    def write(self, target: Path) -> None:
        """Keep it in a file, whole or not at all."""
        content = io.BytesIO()
        np.savez(content, **vars(self))
        write_bytes(target, content.getvalue())

    @classmethod
    def read(cls, source: Path) -> "Rung | None":
        """Read it; None where there is none, or only a damaged one, which the checksums of its parts tell."""
        try:
            with np.load(source) as content:
                probabilities = content["probabilities"]
                steps, seconds, is_over = (content[name].item() for name in ("steps", "seconds", "is_over"))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return cls(probabilities, steps, seconds, is_over)
