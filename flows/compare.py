"""The main job: version data → retrieve backbone → adapt, fine-tune and evaluate every strategy → compare."""

from typing import Annotated, Any

import typer
from prefect import flow
from prefect.client.schemas.objects import State

from flows.chain import submit_comparison
from flows.commands import one_sentence, run
from flows.exclusive import exclusively
from flows.outcome import outcome, sequential_runner
from flows.revisions import compare_at
from flows.server import check_server
from flows.step_tasks.comparison import compare_revision


@flow(name="compare", task_runner=sequential_runner())
def compare(force: bool = False, data_rev: str = "") -> State[Any]:
    """Find out which way of fine-tuning suits the data.

    Args:
        force: run every stage, also those that are up to date.
        data_rev: a git revision, whose version of the images is read, in a clone beside the working copy; empty: none.
    """
    if data_rev:
        return exclusively("compare", lambda: outcome([compare_revision.submit(data_rev, force)]))
    return exclusively("compare", lambda: outcome(submit_comparison(force)))


def main(
    force: Annotated[bool, typer.Option(help="Run every stage, also those that are up to date.")] = False,
    data_rev: Annotated[str, typer.Option(help="Read the images as they were at this git revision.")] = "",
) -> None:
    """Find out which way of fine-tuning suits the data; what DVC calls current is skipped."""
    if data_rev:
        with one_sentence():
            check_server()
            raise typer.Exit(compare_at(data_rev, force=force))
    run(compare, force=force)


if __name__ == "__main__":
    typer.run(main)
