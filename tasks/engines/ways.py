"""The ways in which a network can answer: an engine, and the precision that it computes in."""

from dataclasses import dataclass
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]
EngineName = Literal["eager", "fused"]

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Way:
    """An engine and its precision.

    Attributes:
        engine: ``eager``, or ``fused`` on processors.
        precision: of convolutions and linear layers.
    """

    engine: EngineName
    precision: Precision

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"

    @property
    def dtype(self) -> torch.dtype:
        """The precision as torch names it."""
        return DTYPES[self.precision]


def native_precisions() -> tuple[Precision, ...]:
    """Return the precisions that this processor has; others are emulated, a hundred times as slow."""
    has_bfloat16: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return PRECISIONS if has_bfloat16 else ("float32",)


EAGER = Way("eager", "float32")
WAYS = (EAGER, Way("fused", "float32"), Way("eager", "bfloat16"), Way("fused", "bfloat16"))
