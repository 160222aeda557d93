"""A flow's body that ends with all in order when it is asked to stop.

Prefect's worker and ``serve`` cancel a run by SIGTERM to its process, which becomes an exception in the flow's body
while the tasks go on in their threads; so does Ctrl-C.
"""

import time
from collections.abc import Callable
from typing import Any

from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Cancelled

from tasks import layout, stopping

Body = Callable[[], State[Any]]
CLOCKS_DIFFER = 1.0  # seconds, of this process and a file's time at most


def stoppable(body: Body) -> State[Any]:
    """Return the state of a flow's body; whatever ends it early stops its tasks, too, and their runs in MLflow."""
    begun = time.time()
    stopping.forget()
    try:
        return body()
    except BaseException as ended:
        _stop_tasks(begun)
        if isinstance(ended, KeyboardInterrupt):
            return Cancelled(message=stopping.STOPPED)
        raise


def _stop_tasks(begun: float) -> None:
    """Stop the tasks, wait for the one that runs, and end the runs that it, or one before it, left open."""
    stopping.ask()
    context = FlowRunContext.get()
    if context and hasattr(context.task_runner, "cancel_all"):
        context.task_runner.cancel_all()
    records = [file for file in layout.STARTED.glob("*.json") if file.stat().st_mtime > begun - CLOCKS_DIFFER]
    if records:
        from tasks import tracking

        tracking.abandon_started(records)
