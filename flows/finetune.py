"""One strategy, end to end: version data → retrieve backbone → adapt → fine-tune → evaluate."""

from typing import Annotated, Any

import typer
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from flows.chain import race_strategies, retrieve_backbone, submit_all_fine_tunings, version_data
from flows.cluster import connected
from flows.running import one_at_a_time, outcome, run
from flows.stopping import alone
from tasks.params import load_params


@flow(name="finetune", task_runner=one_at_a_time())
def finetune(strategy: str, force: bool = False) -> State[Any]:
    """Fine-tune by one strategy of params.yaml.

    Args:
        strategy: its name.
        force: run every stage, also those that are up to date.
    """
    return alone("finetune", lambda: _finetune(strategy, force=force))


def _finetune(strategy: str, *, force: bool) -> State[Any]:
    params = load_params()
    params.strategy(strategy)
    with connected(params, get_run_logger().info) as cluster:
        data = version_data.submit(force)
        backbone = retrieve_backbone.submit(force, wait_for=[data])
        raced = race_strategies.submit(force, wait_for=[backbone])
        tuned, _ = submit_all_fine_tunings([strategy], params, cluster, force=force, after=raced)
    return outcome([data, backbone, raced, *tuned])


def main(
    strategy: Annotated[str, typer.Argument(help="A strategy of params.yaml.")],
    force: Annotated[bool, typer.Option(help="Run every stage, also those that are up to date.")] = False,
) -> None:
    """Fine-tune by one strategy; what DVC calls current is skipped."""
    run(finetune, strategy=strategy, force=force)


if __name__ == "__main__":
    typer.run(main)
