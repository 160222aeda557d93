"""The section ``compare``: what decides between the strategies."""

from typing import Literal

from pydantic import Field, model_validator

from tasks.params.section import Section

Cost = Literal["milliseconds", "parameters", "trainable_parameters", "train_seconds"]


class CompareParams(Section):
    """How strategies are compared.

    Example:
        compare:
          metric: balanced_accuracy
          max_ece: 0.1
    """

    metric: Literal["accuracy", "balanced_accuracy", "macro_f1", "auroc", "average_precision"] = "auroc"
    """What chooses the champion; read on the validation split."""

    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Confidence of the intervals, and of what is called a difference."""

    cheaper: tuple[Cost, ...] = Field(("milliseconds", "parameters"))
    """Of candidates that tie, the cheaper one wins, by these costs, of which the first that differs by more than a
    tenth decides: ``milliseconds`` an image takes on the network, as it was screened, if there are several;
    ``parameters`` (the size); ``trainable_parameters``; ``train_seconds``. Of those that cost the same the one with the
    best score wins; ``[]``: cost is no matter."""

    resamples: int = Field(2000, ge=100, le=100_000)
    """How often the images are drawn anew, with replacement, for the intervals (bootstrap)."""

    permutations: int = Field(200, ge=100, le=100_000)
    """How often the labels are shuffled, for what would be scored by chance."""

    robustness_images: int | None = Field(None, ge=0, le=100_000)
    """Validation images, at most, that a strategy answers under each of five kinds of corruption; unset: all, 0:
    none."""

    seed: int = 0
    """Seed of all these draws."""

    max_ece: float | None = Field(None, ge=0, le=1)
    """Expected calibration error on validation that a champion may have; unset: any."""

    max_drop: float | None = Field(None, ge=0, le=1)
    """Share of its score that a champion may lose on corrupted images (the mean over ``robustness_images``); unset:
    any."""

    min_group: float | None = Field(None, ge=0, le=1)
    """``metric`` that a champion must reach on every group of 20 validation images or more; unset: none."""

    @model_validator(mode="after")
    def _measures_what_it_limits(self) -> "CompareParams":
        if self.max_drop is not None and self.robustness_images == 0:
            raise ValueError("'max_drop' is measured on 'robustness_images': let there be some")
        return self
