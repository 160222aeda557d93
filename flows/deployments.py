"""Serves a flow on a schedule: ``python -m flows.deployments``. For work pools, see ``prefect.yaml``."""

import os
from typing import Annotated, Any, cast

import typer
from prefect import Flow, serve
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron

from flows.compare import compare
from flows.retrain import retrain


def main(
    cron: Annotated[str, typer.Option(help="When, as a cron expression.")] = "0 3 * * *",
    timezone: Annotated[str, typer.Option(help="Time zone of the expression.")] = "UTC",
    name: Annotated[str, typer.Option(help="Name of the deployment.")] = "nightly",
    gated: Annotated[
        bool, typer.Option("--retrain", help="Serve flows.retrain, which asks before it promotes.")
    ] = False,
) -> None:
    """Serve the comparison, or the retraining, on a cron schedule until interrupted; one run at a time."""
    if not os.environ.get("PREFECT_API_URL"):
        typer.echo(
            "thawline: a schedule needs a Prefect server: run 'prefect server start' and set "
            "PREFECT_API_URL=http://127.0.0.1:4200/api",
            err=True,
        )
        raise typer.Exit(2)
    served: Flow[Any, Any] = retrain if gated else compare
    deployment = served.to_deployment(
        name, schedule=Cron(cron, timezone=timezone), tags=["thawline"], concurrency_limit=1
    )
    serve(cast(RunnerDeployment, deployment), pause_on_shutdown=False)


if __name__ == "__main__":
    typer.run(main)
