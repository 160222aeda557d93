"""From a flow's tasks to its final state, and from that to the exit status of a command."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from prefect import Flow
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.server import check_server, explained
from flows.temporary import temporary_server
from tasks import stopping
from tasks.errors import UserError
from tasks.files import naming_what_the_disk_refuses
from tasks.params import load_params

RAN = "ran"
INTERRUPTED = 130  # the exit status of a command that Ctrl-C ends


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


def one_at_a_time() -> TaskRunner[Any]:
    """Return a runner that works off tasks in the order of their submission: one machine trains one network."""
    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=1)
    return runner


def outcome(futures: Sequence[PrefectFuture[Any]]) -> State[Any]:
    """Wait for tasks and return Completed, or Failed with the message of every task that failed by itself."""
    for future in futures:
        future.wait()
    if left := NOT_RUN.taken():
        get_run_logger().error("not run, because of what failed before: %s", ", ".join(left))
    states = [future.state for future in futures]
    failed = [str(state.message) for state in states if state.is_failed() or state.is_crashed()]
    if failed:
        return Failed(message="; ".join(dict.fromkeys(failed)))
    unfinished = [state.message or state.name for state in states if not state.is_completed()]
    if unfinished:
        return Failed(message=unfinished[0])
    ran = any(state.message == RAN for state in states)
    return Completed(message="done" if ran else "everything was up to date")


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn a user's mistake into one sentence and exit status 2; Ctrl-C and SIGTERM into one and 130 or 143."""
    try:
        with stopping.by_sigterm(), naming_what_the_disk_refuses():
            yield
    except UserError as error:
        typer.echo(f"thawline: {error}", err=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt as error:
        typer.echo(f"thawline: {stopping.STOPPED}", err=True)
        raise typer.Exit(INTERRUPTED) from error
    except stopping.InterruptedRun as error:
        typer.echo(f"thawline: {error}", err=True)
        raise typer.Exit(error.status) from error


def state_of(flow: Flow[Any, Any], **parameters: Any) -> State[Any]:
    """Run a flow in this process and return its final state.

    Raises:
        UserError: the Prefect server that is named can't be used, or the temporary one doesn't start.
    """
    check_server()
    with temporary_server(), explained():
        returned: Any = flow(**parameters, return_state=True)
    state: State[Any] = returned
    return state


def run(flow: Flow[Any, Any], strategy: str | None = None, **parameters: Any) -> None:
    """Run a flow in this process, for one strategy or for all; exit with status 2 and one sentence if it fails."""
    with one_sentence():
        params = load_params()
        if strategy is not None:
            params.strategy(strategy)
            parameters["strategy"] = strategy
        state = state_of(flow, **parameters)
    say(state, str(state.message))


def say(state: State[Any], words: str) -> None:
    """End a command: with these words, or with a failed flow's sentence and exit status 2."""
    if not state.is_completed():
        typer.echo(f"thawline: {state.message}", err=True)
        raise typer.Exit(INTERRUPTED if state.is_cancelled() else 2)
    typer.echo(f"thawline: {words}")
