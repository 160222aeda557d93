"""The section ``augment``: how training images are changed at random."""

from pydantic import Field

from tasks.params.section import Section


class AugmentParams(Section):
    """Random changes of the training images, drawn anew in every epoch.

    Example:
        augment:
          quarter_turns: false
          crop: 0.7
          brightness: 0.2
    """

    flips: bool = True
    """Mirror left-right; also up-down for images without an up (``data.upright``)."""

    quarter_turns: bool = True
    """Turn by multiples of 90 degrees, for images without an up."""

    crop: float = Field(1.0, gt=0.05, le=1)
    """Smallest share of the area that a random crop keeps; 1 switches cropping off."""

    brightness: float = Field(0.0, ge=0, lt=1)
    """Largest relative change of brightness and contrast; 0 switches it off."""
