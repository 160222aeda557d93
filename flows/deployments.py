"""Serves a flow on a schedule: ``python -m flows.deployments``. For work pools, see ``prefect.yaml``."""

from typing import Annotated, Any, cast

import typer
from prefect import Flow, serve
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron

from flows.commands import one_sentence
from flows.compare import compare
from flows.retrain import retrain
from flows.server import require_server


def main(
    cron: Annotated[str, typer.Option(help="When, as a cron expression.")] = "0 3 * * *",
    timezone: Annotated[str, typer.Option(help="Time zone of the expression.")] = "UTC",
    name: Annotated[str, typer.Option(help="Name of the deployment.")] = "nightly",
    gated: Annotated[
        bool, typer.Option("--retrain", help="Serve flows.retrain, which asks before it promotes.")
    ] = False,
) -> None:
    """Serve the comparison, or the retraining, on a cron schedule until interrupted; one run at a time."""
    with one_sentence():
        require_server("a schedule")
    served: Flow[Any, Any] = retrain if gated else compare
    deployment = served.to_deployment(
        name, schedule=Cron(cron, timezone=timezone), tags=["thawline"], concurrency_limit=1
    )
    serve(cast(RunnerDeployment, deployment), pause_on_shutdown=False)


if __name__ == "__main__":
    typer.run(main)
