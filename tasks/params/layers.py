"""Layers that a strategy replaces or adds: the head, the stem, adapters."""

from typing import Literal

from pydantic import Field

from tasks.params.section import Section
from tasks.params.values import Selectors


class HeadParams(Section):
    """What replaces the classifier.

    Example:
        strategies:
          wide_head:
            train: head
            head: {kind: mlp, hidden: 512, dropout: 0.2}
    """

    kind: Literal["linear", "mlp", "cosine", "on_top"] = "linear"
    """``linear``: one linear layer; ``mlp``: two; ``cosine``: class scores are cosines of the angle between features
    and class weights; ``on_top``: the old classifier is kept, with two new layers on top of it."""

    hidden: int = Field(256, ge=1)
    """Width of the layer between, for ``mlp`` and ``on_top``."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the features that are dropped in training (Srivastava et al., JMLR 2014)."""


class StemParams(Section):
    """How the first layer takes another number of channels than the three of the pretraining.

    Example:
        strategies:
          grey:
            train: ["stages[-1]", head]
            stem: {init: sum, frozen: true}
    """

    init: Literal["auto", "sum", "repeat", "zero"] = "auto"
    """``sum``: every channel gets the sum of the kernels, divided by the number of channels; ``repeat``: the kernels in
    turn; ``zero``: the channels beyond three start at zero; ``auto``: ``sum`` for one channel, ``repeat`` for two,
    ``zero`` for more than three."""

    frozen: bool = False
    """Keep a replaced first layer frozen; otherwise it trains in every phase. One channel by ``sum`` computes what the
    old layer computes, which counts as the old layer."""


class AdaptersParams(Section):
    """Small trainable layers beside frozen ones, by the peft library; merged into the weights after training.

    Example:
        strategies:
          lora:
            train: all
            adapters: {kind: lora, rank: 8}
    """

    kind: Literal["lora", "loha", "lokr", "ia3"] = "lora"
    """``lora`` (Hu et al., ICLR 2022), ``loha`` (Hyeon-Woo et al., ICLR 2022), ``lokr`` (Yeh et al., ICLR 2024) or
    ``ia3`` (Liu et al., NeurIPS 2022)."""

    rank: int = Field(8, ge=1)
    """Rank of the update; ``ia3`` has none."""

    alpha: float = Field(16.0, gt=0)
    """The update is scaled by alpha / rank."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """``lora`` only: share of an adapter's inputs that are dropped in training."""

    targets: Selectors | None = None
    """Regular expressions for the whole names of the layers; unset: every convolution without groups and every linear
    layer of the parts that train."""
