"""A flow's body: alone in the working copy, and ended with all in order when it is asked to stop.

Prefect's worker and ``serve`` cancel a run by SIGTERM to its process, which becomes an exception in the flow's body
while the tasks go on in their threads; so does Ctrl-C.
"""

import time
from collections.abc import Callable
from typing import Any

from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Failed

from tasks import exclusive, layout, stopping, versioning
from tasks.errors import UserError

Body = Callable[[], State[Any]]
CLOCKS_DIFFER = 1.0  # seconds, of this process and a file's time at most


def alone(flow: str, body: Body) -> State[Any]:
    """Return the state of a flow's body that runs when no other run and no ``dvc repro`` is at work here.

    Args:
        flow: its name, for those who wait for it.
        body: submits the tasks and waits for them.
    """
    say = get_run_logger().info
    try:
        with exclusive.working_copy(f"flows.{flow}", say), versioning.kept_shut(say, exclusive.seconds_to_wait()):
            return stoppable(body)
    except UserError as error:
        return Failed(message=str(error))
    except KeyboardInterrupt:
        return Cancelled(message=stopping.STOPPED)


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
