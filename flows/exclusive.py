"""A flow's body that has the working copy for itself: no other run and no ``dvc repro`` is at work meanwhile."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Failed

from flows.stopping import Body, stoppable
from tasks import exclusive, stopping, versioning
from tasks.errors import UserError
from tasks.files import naming_what_the_disk_refuses
from tasks.versioning import lockfile

SECONDS_BETWEEN_TRIES = 1.0


def exclusively(flow: str, body: Body) -> State[Any]:
    """Return the state of a flow's body that runs when no other run and no ``dvc repro`` is at work here.

    Args:
        flow: its name, for those who wait for it.
        body: submits the tasks and waits for them.
    """
    try:
        with naming_what_the_disk_refuses(), _working_copy(f"flows.{flow}"):
            return stoppable(body)
    except UserError as error:
        return Failed(message=str(error))
    except KeyboardInterrupt:
        return Cancelled(message=stopping.STOPPED)


@contextmanager
def _working_copy(what: str) -> Iterator[None]:
    """Hold the working copy and DVC's read lock; let go of both while DVC works, whose next stage needs it.

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
