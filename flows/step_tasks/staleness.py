"""Whether a stage has to run, which DVC decides, and its record once it ran."""

from collections.abc import Callable
from typing import Any

from prefect.logging import get_run_logger

from tasks.versioning import Stages


def must_run(stage: str, *, force: bool) -> bool:
    """Return whether a stage has to run, and say so: it is forced, or DVC doesn't call it current."""
    runs = force or not Stages().is_current(stage)
    get_run_logger().info("running %s" if runs else "skipped %s: up to date", stage)
    return runs


def run_if_stale(stage: str, step: Callable[[], Any], *, force: bool) -> bool:
    """Run a step unless DVC calls its stage current, record it, and return whether it ran."""
    if not must_run(stage, force=force):
        return False
    step()
    Stages().record(stage)
    return True
