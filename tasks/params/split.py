"""The section ``split``: what is held out, and how images that belong together stay together."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.params.section import Section


class SplitParams(Section):
    """Shares of the images held out; what remains is trained on.

    Example:
        split:
          validation: 0.2
          test: 0.2
          near_duplicates: 0.95
    """

    validation: float = Field(0.15, gt=0, lt=1)
    """Share of the images that chooses between epochs and between strategies."""

    test: float = Field(0.25, gt=0, lt=1)
    """Share of the images that is read once, at the end."""

    seed: int = 0
    """Seed of the draw of splits and folds, of the shares of the training split, and of the probe's folds."""

    near_duplicates: Literal[False] | Annotated[float, Field(gt=0.5, le=1, strict=True)] = 0.9
    """Images that are at least this alike, whatever their exposure (1 is the same), never lie in different splits;
    ``false`` compares contents alone."""

    repair: bool = False
    """Leave images out of training that leak into a held-out split which the source gave."""

    folds: Literal["auto", False] | Annotated[int, Field(ge=2, le=100, strict=True)] | None = "auto"
    """Divide all images but the test split into so many folds, instead of drawing ``validation``, and let every
    strategy be trained once for each, validated on it; ``auto`` does so where a class has few images, and ``false``
    never."""

    fold: int | None = Field(None, ge=0)
    """The only fold, from 0, that is validated on."""

    @model_validator(mode="after")
    def _leaves_something_to_train_on(self) -> "SplitParams":
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together leave nothing to train on (their sum must be below 1)")
        if (self.fold or 0) >= (self.divisions or 1):
            raise ValueError(f"'fold' {self.fold} is none of the folds, which are counted from 0 ('folds')")
        return self

    @property
    def divisions(self) -> int:
        """Number of folds that is asked for; 0: none, or as the images are."""
        return int(self.folds) if isinstance(self.folds, int) else 0

    @property
    def is_on_one_split(self) -> bool:
        """Whether every strategy is validated on one split or one fold, whatever the images are."""
        return not self.folds or self.fold is not None
