"""The section ``retrain``: what ``python -m flows.retrain`` does and decides."""

from typing import Literal

from pydantic import Field

from tasks.params.section import Section


class RetrainParams(Section):
    """When a retrained model takes the champion's place, and what else a retraining does (``flows.retrain``).

    Example:
        retrain:
          rule: not_worse
          margin: 0.02
          update: true
    """

    rule: Literal["better", "not_worse"] = "better"
    """``better``: the challenger must be better by more than noise; ``not_worse``: it is enough that it is not worse,
    as far as the test images tell, and surely by less than ``margin``: newer images for the same score."""

    margin: float = Field(0.01, ge=0, lt=1)
    """How much worse a challenger may surely not be under ``not_worse``, in the metric of ``compare``."""

    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Confidence of the intervals and tests that say what is noise."""

    resamples: int = Field(2000, ge=100, le=100_000)
    """How often the test images are drawn anew, with replacement, for the intervals (bootstrap)."""

    min_images: int = Field(20, ge=2)
    """Test images, new to the champion, without which nothing is decided and the champion stays."""

    part_images: int = Field(20, ge=2)
    """Images that a class, a ``subset`` or the earlier images must have to be judged as a part by itself."""

    max_part_drop: float = Field(0.05, ge=0, le=1)
    """Accuracy that none of these parts may lose."""

    max_ece_rise: float = Field(0.05, ge=0, le=1)
    """By how much the expected calibration error may rise."""

    max_slowdown: float = Field(1.5, ge=1)
    """How many times as long as before an image may take."""

    drift_confidence: float = Field(0.99, gt=0.5, lt=1)
    """Confidence from which on a difference between new images and known ones is warned of."""

    update: bool = False
    """Bring the newest images first: ``dvc update`` where they were imported, else ``dvc pull``."""

    push: bool = False
    """``dvc push`` what a retraining made."""

    commit: bool = False
    """Commit ``dvc.lock``, and the metrics that git keeps, of a retraining."""
