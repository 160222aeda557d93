"""What makes a step a Prefect task: a user's mistake ends it as Failed with its sentence, without a traceback."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from prefect import task
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed

from flows.outcome import RAN
from tasks import stopping
from tasks.errors import UnavailableError, UserError
from tasks.files import naming_what_the_disk_refuses
from tasks.progress import lines_to

P = ParamSpec("P")
UNAVAILABLE = "Unavailable"
RETRIES, SECONDS_BETWEEN_RETRIES = 2, 5


def step_task(
    name: str, task_run_name: str | Callable[..., str] | None = None, *, retry_if_unavailable: bool = False
) -> Callable[[Callable[P, Any]], Any]:
    """Return a decorator that makes a function a Prefect task whose user errors are one sentence.

    Args:
        name: of the task.
        task_run_name: of its runs, or what makes it of their parameters; the task's name if there is none.
        retry_if_unavailable: whether it is run again where something outside, such as a server, was not available.
    """
    retries: dict[str, Any] = {
        "retries": RETRIES,
        "retry_delay_seconds": SECONDS_BETWEEN_RETRIES,
        "retry_condition_fn": _is_unavailable,
    }

    def decorate(function: Callable[P, Any]) -> Any:
        @wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
            try:
                stopping.check()
                with naming_what_the_disk_refuses(), lines_to(get_run_logger().info):
                    return function(*args, **kwargs)
            except stopping.StoppedError:
                return Cancelled(message="stopped")
            except UserError as error:
                name_of_state = UNAVAILABLE if isinstance(error, UnavailableError) else "Failed"
                return Failed(message=str(error), name=name_of_state)

        options = retries if retry_if_unavailable else {}
        decorated: Any = task(name=name, task_run_name=task_run_name or name, **options)(guarded)
        return decorated

    return decorate


def completed(ran: bool, **data: Any) -> State[Any]:
    """Return the state of a task that ran its step, or that had nothing to do."""
    return Completed(message=RAN, **data) if ran else Completed(name="Skipped", message="up to date", **data)


def _is_unavailable(_: Any, __: Any, state: State[Any]) -> bool:
    return state.name == UNAVAILABLE


def _without_empty_traceback(record: logging.LogRecord) -> bool:
    """Take the traceback from what a task that fails without an exception logs, which would say 'NoneType: None'."""
    if record.exc_info and record.exc_info[0] is None:
        record.exc_info = None
    return True


logging.getLogger("prefect.task_runs").addFilter(_without_empty_traceback)
