"""A flow's body: alone in the working copy, and ended with all in order when it is asked to stop.

Prefect's worker and ``serve`` cancel a run by SIGTERM to its process, which becomes an exception in the flow's body
while the tasks go on in their threads; so does Ctrl-C.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Failed

from tasks import exclusive, layout, stopping, versioning
from tasks.errors import UserError
from tasks.files import naming_what_the_disk_refuses
from tasks.versioning import lockfile

Body = Callable[[], State[Any]]
SECONDS_BETWEEN_TRIES = 1.0
CLOCKS_DIFFER = 1.0  # seconds, of this process and a file's time at most


def alone(flow: str, body: Body) -> State[Any]:
    """Return the state of a flow's body that runs when no other run and no ``dvc repro`` is at work here.

    Args:
        flow: its name, for those who wait for it.
        body: submits the tasks and waits for them.
    """
    try:
        with naming_what_the_disk_refuses(), _alone_in_the_working_copy(f"flows.{flow}"):
            return stoppable(body)
    except UserError as error:
        return Failed(message=str(error))
    except KeyboardInterrupt:
        return Cancelled(message=stopping.STOPPED)


@contextmanager
def _alone_in_the_working_copy(what: str) -> Iterator[None]:
    """Hold the working copy with DVC's door shut; let go of it while DVC works, whose next stage needs it.

    Raises:
        UserError: somebody was at work for longer than is waited.
    """
    say, seconds, has_said = get_run_logger().info, exclusive.seconds_to_wait(), False
    until = time.monotonic() + seconds
    while True:
        with ExitStack() as held:
            held.enter_context(exclusive.working_copy(what, say))
            try:
                held.enter_context(versioning.read_lock())
            except versioning.DvcAtWorkError as error:
                at_work = error
            else:
                if mended := lockfile.restore():
                    get_run_logger().warning(mended)
                yield
                return
        if time.monotonic() >= until:
            raise exclusive.waited_too_long(str(at_work))
        if not has_said:
            say(f"waits for {at_work}")
        has_said = True
        time.sleep(SECONDS_BETWEEN_TRIES)


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
