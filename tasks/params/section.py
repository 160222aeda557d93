"""What all sections of ``params.yaml`` have in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping with known keys, which nothing changes once it was read.

    The docstring below a key says what it means, and that of the class what the section is for, with an ``Example:``.
    ``tasks.params.meanings`` reads them when they are asked for; pydantic's ``use_attribute_docstrings`` would do so at
    every start.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
