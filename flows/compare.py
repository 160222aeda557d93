"""The main job: version data → retrieve backbone → adapt, fine-tune and evaluate every strategy → compare."""

from typing import Annotated, Any

import typer
from prefect import flow
from prefect.client.schemas.objects import State

from flows.chain import compare_revision, submit_strategies
from flows.revisions import compare_at
from flows.running import one_at_a_time, one_sentence, outcome, run
from flows.server import check_server
from flows.stopping import alone


@flow(name="compare", task_runner=one_at_a_time())
def compare(force: bool = False, data_rev: str = "") -> State[Any]:
    """Find out which way of fine-tuning suits the data.

    Args:
        force: run every stage, also those that are up to date.
        data_rev: a git revision, whose version of the images is read, in a clone beside the working copy; empty: none.
    """
    if data_rev:
        return alone("compare", lambda: outcome([compare_revision.submit(data_rev, force)]))
    return alone("compare", lambda: outcome(submit_strategies(force)))


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
