"""Waiting for an answer rather than for a time."""

import time
import urllib.error
from collections.abc import Callable
from typing import Any

BETWEEN = 0.1  # seconds


def wait_for(what: Callable[[], Any], seconds: float) -> Any:
    """Return the first truth that ``what`` answers; an address that nobody listens at yet is asked again."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if answer := what():
                return answer
        except (urllib.error.URLError, ConnectionError) as error:
            if isinstance(error, urllib.error.HTTPError):
                raise
        time.sleep(BETWEEN)
    raise AssertionError(f"still nothing after {seconds:.0f} s")
