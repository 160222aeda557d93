"""From a flow's tasks to its final state, and from that to the exit status of a command."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from prefect import Flow
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.server import check_server, explained
from tasks import stopping
from tasks.errors import UserError
from tasks.files import naming_what_the_disk_refuses
from tasks.params import load_params

RAN = "ran"
INTERRUPTED = 130  # the exit status of a command that Ctrl-C ends


def one_at_a_time() -> TaskRunner[Any]:
    """Return a runner that works off tasks in the order of their submission: one machine trains one network."""
    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=1)
    return runner


def outcome(futures: Sequence[PrefectFuture[Any]]) -> State[Any]:
    """Wait for tasks and return Completed, or Failed with the message of every task that failed by itself."""
    for future in futures:
        future.wait()
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


def start_temporary_server() -> None:
    """Start Prefect's temporary server, where no other is named, so that Ctrl-C does not end it before the flow."""
    if PREFECT_API_URL.value() or not PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value():
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which the server's process inherits
    try:
        SubprocessASGIServer().start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def state_of(flow: Flow[Any, Any], **parameters: Any) -> State[Any]:
    """Run a flow in this process and return its final state.

    Raises:
        UserError: the Prefect server that is named can't be used.
    """
    check_server()
    start_temporary_server()
    with explained():
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
