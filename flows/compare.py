"""The main job: version data → retrieve backbone → adapt, fine-tune and evaluate every strategy → compare."""

from typing import Annotated, Any

import typer
from prefect import flow
from prefect.client.schemas.objects import State

from flows.chain import adapt, compare_strategies, evaluate, fine_tune, retrieve_backbone, version_data
from flows.running import one_at_a_time, outcome, run
from tasks.params import load_params


@flow(name="compare", task_runner=one_at_a_time())
def compare(force: bool = False) -> State[Any]:
    """Find out which way of fine-tuning suits the data.

    Args:
        force: run every stage, also those that are up to date.
    """
    strategies = list(load_params().strategies)
    data = version_data.submit(force)
    backbone = retrieve_backbone.submit(force, wait_for=[data])
    tuned, evaluated = [], []
    for strategy in strategies:
        adapted = adapt.submit(strategy, force, wait_for=[backbone])
        trained = fine_tune.submit(strategy, adapted)
        tuned += [adapted, trained]
        evaluated.append(evaluate.submit(strategy, trained))
    compared = compare_strategies.submit(force, wait_for=evaluated)
    return outcome([data, backbone, *tuned, *evaluated, compared])


def main(
    force: Annotated[bool, typer.Option(help="Run every stage, also those that are up to date.")] = False,
) -> None:
    """Find out which way of fine-tuning suits the data; what DVC calls current is skipped."""
    run(compare, force=force)


if __name__ == "__main__":
    typer.run(main)
