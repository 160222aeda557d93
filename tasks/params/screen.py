"""The section ``screen``: which of several networks are fine-tuned at all."""

from pydantic import Field, PositiveFloat, PositiveInt

from tasks.params.section import Section


class ScreenParams(Section):
    """Which of ``backbone`` and ``backbones`` are fine-tuned, told from their frozen features.

    Example:
        screen:
          keep: 2
          max_milliseconds: 50
    """

    keep: int = Field(2, ge=1)
    """Number of networks that are kept at most."""

    max_milliseconds: PositiveFloat | None = None
    """Longest that an image may take, in batches, on the machine that screens."""

    max_parameters: PositiveInt | None = None
    """Largest number of parameters of a network."""
