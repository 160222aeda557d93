"""What the records that are written as JSON have in common."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A record that never changes and has no fields but its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)
