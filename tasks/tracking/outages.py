"""A tracking server that does not answer: how long it is waited for, and what is said meanwhile.

MLflow asks again by itself, later and later; how often is MLFLOW_HTTP_REQUEST_MAX_RETRIES.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Timer
from typing import Any

import requests
from mlflow import environment_variables
from urllib3 import Retry

PROBED = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=thawline"  # which takes the database, too
SECONDS_UNTIL_SAID = 5.0
SECONDS_TO_PROBE = 5.0
AT_ONCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}

_watched = ContextVar("watched", default=False)


def is_outage(error: BaseException) -> bool:
    """Return whether an error of MLflow says that its server gave no answer, or none but that it can't now."""
    return isinstance(error.__context__, requests.ConnectionError | requests.Timeout | requests.exceptions.RetryError)


def patience() -> str:
    """Return for how long a server that refuses connections is asked again, in words."""
    settings: Any = environment_variables
    factor = settings.MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR.get()
    retries = range(1, settings.MLFLOW_HTTP_REQUEST_MAX_RETRIES.get())  # the first one is at once
    seconds = sum(min(factor * 2**before, Retry.DEFAULT_BACKOFF_MAX) for before in retries)
    return f"{seconds / 60:.0f} minutes" if seconds > 90 else f"{seconds:.0f} seconds"


@contextmanager
def said_while_waiting(server: str) -> Iterator[None]:
    """Say that a server is waited for, if the block takes long and the server does not answer.

    Args:
        server: address; empty where there is none.
    """
    if not server or _watched.get():
        yield
        return
    timer = Timer(SECONDS_UNTIL_SAID, _say_if_gone, [server])
    timer.daemon = True
    timer.start()
    token = _watched.set(True)
    try:
        yield
    finally:
        _watched.reset(token)
        timer.cancel()


@contextmanager
def without_patience() -> Iterator[None]:
    """Ask a server once only for as long as the block runs."""
    before = {name: os.environ.get(name) for name in AT_ONCE}
    os.environ |= AT_ONCE
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _say_if_gone(server: str) -> None:
    try:
        if requests.get(server.rstrip("/") + PROBED, timeout=SECONDS_TO_PROBE).status_code < 500:
            return
    except requests.RequestException:
        pass
    words = f"thawline: MLflow's server {server} does not answer; it is asked again for up to {patience()}"
    print(words, file=sys.stderr, flush=True)
