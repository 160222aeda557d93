"""From a flow's tasks to its final state."""

import logging
from collections.abc import Sequence
from typing import Any

from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

RAN = "ran"


class NotRun(logging.Filter):
    """Keeps what Prefect logs of each task that another's failure kept from running, to be said in one line."""

    def __init__(self) -> None:
        super().__init__()
        self._names: dict[str, None] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is of anything else."""
        if not record.getMessage().startswith("Finished in state NotReady("):
            return True
        self._names[getattr(record, "task_name", "a task")] = None
        return False

    def taken(self) -> list[str]:
        """Return the names of these tasks, each once, in their order, and forget them."""
        names, self._names = list(self._names), {}
        return names


NOT_RUN = NotRun()
logging.getLogger("prefect.task_runs").addFilter(NOT_RUN)


def sequential_runner() -> TaskRunner[Any]:
    """Return a runner that works off tasks in the order of their submission: one machine trains one network."""
    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=1)
    return runner


def outcome(futures: Sequence[PrefectFuture[Any]]) -> State[Any]:
    """Wait for tasks and return Completed, or Failed with the message of every task that failed by itself."""
    for future in futures:
        future.wait()
    if names := NOT_RUN.taken():
        get_run_logger().error("not run, because of what failed before: %s", ", ".join(names))
    states = [future.state for future in futures]
    failed = [str(state.message) for state in states if state.is_failed() or state.is_crashed()]
    if failed:
        return Failed(message="; ".join(dict.fromkeys(failed)))
    unfinished = [state.message or state.name for state in states if not state.is_completed()]
    if unfinished:
        return Failed(message=unfinished[0])
    ran = any(state.message == RAN for state in states)
    return Completed(message="done" if ran else "everything was up to date")
