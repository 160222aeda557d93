"""A flow run by a command: one sentence where it fails, and the exit status that its final state means."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from prefect import Flow
from prefect.client.schemas.objects import State

from flows.server import check_server, explained
from flows.temporary import temporary_server
from tasks import stopping
from tasks.errors import UserError
from tasks.files import naming_what_the_disk_refuses
from tasks.params import load_params

INTERRUPTED = 130  # the exit status of a command that Ctrl-C ends


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
