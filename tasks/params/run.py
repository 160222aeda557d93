"""The section ``run``: where the strategies are trained."""

import re

from pydantic import Field, field_validator

from tasks.params.section import Section

RAY_ADDRESS = re.compile(r"(ray://)?([\w.-]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")


class RunParams(Section):
    """How the strategies are trained, which changes no result and makes nothing stale.

    Example:
        run:
          ray: auto
    """

    ray: str | None = None
    """A Ray cluster: ``auto``, the one that this machine belongs to; ``HOST:6379``, the same by its address;
    ``ray://HOST:10001``, one that this machine need not belong to; ``local``, one that is started on this machine for
    the run. Unset: in this process, one after the other."""

    checkpoint_seconds: float = Field(15.0, ge=0)
    """Seconds of training that a process which is killed loses at most; where writing a checkpoint takes more than a
    twentieth of it, 20 times what it takes. 0: one is written after every step."""

    @field_validator("ray")
    @classmethod
    def _is_an_address(cls, address: str | None) -> str | None:
        if address is None or address in {"auto", "local"}:
            return address
        match = RAY_ADDRESS.fullmatch(address)
        if not match or not 0 < int(match["port"]) < 65536:
            raise ValueError(
                f"'{address}' is no Ray cluster: write auto, local, an address such as 10.0.0.1:6379, or "
                "ray://10.0.0.1:10001"
            )
        return address
