"""What needs a Prefect server of its own says so where there is none."""

import os

from tasks.errors import UserError


def require_server(what: str) -> None:
    """Raise unless a Prefect server is named.

    Raises:
        UserError: ``PREFECT_API_URL`` is not set.
    """
    if not os.environ.get("PREFECT_API_URL"):
        raise UserError(
            f"{what} needs a Prefect server: run 'prefect server start' and set "
            "PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
