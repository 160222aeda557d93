"""One strategy, end to end: version data → retrieve backbone → adapt → fine-tune → evaluate."""

from typing import Annotated, Any

import typer
from prefect import flow
from prefect.client.schemas.objects import State

from flows.chain import submit_strategy
from flows.commands import run
from flows.exclusive import exclusively
from flows.outcome import outcome, sequential_runner


@flow(name="finetune", task_runner=sequential_runner())
def finetune(strategy: str, force: bool = False) -> State[Any]:
    """Fine-tune by one strategy of params.yaml.

    Args:
        strategy: its name.
        force: run every stage, also those that are up to date.
    """
    return exclusively("finetune", lambda: outcome(submit_strategy(strategy, force=force)))


def main(
    strategy: Annotated[str, typer.Argument(help="A strategy of params.yaml.")],
    force: Annotated[bool, typer.Option(help="Run every stage, also those that are up to date.")] = False,
) -> None:
    """Fine-tune by one strategy; what DVC calls current is skipped."""
    run(finetune, strategy=strategy, force=force)


if __name__ == "__main__":
    typer.run(main)
