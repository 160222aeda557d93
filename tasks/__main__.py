"""``python -m tasks STEP``: what ``dvc.yaml`` runs."""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from tasks import exclusive, layout, stopping
from tasks.errors import UserError
from tasks.files import naming_what_the_disk_refuses
from tasks.params import must_have_sections
from tasks.progress import during
from tasks.runs import launch
from tasks.versioning import lockfile, workable

if TYPE_CHECKING:
    from tasks.training.distributed import ProcessGroup

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The steps of the pipeline, one a DVC stage.",
)


@contextmanager
def _exclusively(stage: str) -> Iterator[None]:
    """Hold a stage while its step runs; end the command where the same work was done meanwhile."""
    launch.check_single_process(stage)
    if exclusive.DVC_STAGE in os.environ:
        must_have_sections()
        lockfile.back_up()  # before DVC writes it
    with exclusive.stage(stage, lambda line: typer.echo(f"thawline: {line}", err=True)) as needed:
        if not needed:
            typer.echo(f"thawline: {stage} was run meanwhile, nothing is left to do")
            raise typer.Exit
        yield


@app.command()
def fetch() -> None:
    """Bring images that are not here yet to data/fetched."""
    from tasks.steps.fetch import fetch as step

    with _exclusively("fetch"):
        typer.echo(step())


@app.command()
def prepare() -> None:
    """Read, check, split and decode every image."""
    with _starting("prepare"):
        from tasks.steps.prepare import prepare as step

    with _exclusively("prepare"):
        for note in step():
            typer.echo(note)


@app.command()
def networks() -> None:
    """Write down which networks compete: backbone, and backbones."""
    from tasks.steps.networks import networks as step

    with _exclusively("networks"):
        typer.echo(f"networks: {', '.join(step())}")


@app.command()
def backbone(network: Annotated[str, typer.Option(help="One of backbones; empty: backbone.")] = "") -> None:
    """Retrieve and verify the pretrained weights."""
    with _starting("backbone"):
        from tasks.steps.backbone import backbone as step

    with _exclusively(f"network@{network}" if network else "backbone"):
        record = step(network)
    typer.echo(f"{record.name} {record.weights}: {record.source}")
    for line in record.lines():
        typer.echo(line)


@app.command()
def screen() -> None:
    """Find out which of several networks are fine-tuned, by what their frozen features say of the classes."""
    from tasks.steps.screen import screen as step

    with _exclusively("screen"):
        for line in step().lines():
            typer.echo(f"screening: {line}")


@app.command()
def probe() -> None:
    """Measure on frozen features what a random split would pretend, and which strategies are worth running."""
    with _starting("probe"):
        from tasks.comparison.recommendation import recommend
        from tasks.params import load_params
        from tasks.runs.candidates import expected_order, parts_of_candidates
        from tasks.steps.probe import probe as step

    with _exclusively("probe"):
        probed = step()
    params = load_params()
    for line in recommend(probed.facts, expected_order(params), parts_of_candidates(params)).lines():
        typer.echo(line)
    for pretence in probed.pretences:
        typer.echo(
            f"{pretence.probe}: accuracy {pretence.mean_grouped:.3f} if groups stay whole, "
            f"{pretence.mean_random:.3f} by a random split ({pretence.difference:+.3f} ± {pretence.standard_error:.3f})"
        )


@app.command()
def race() -> None:
    """Find out which strategies are trained to their end: who can't win any more is stopped (train.budget)."""
    from tasks.steps.race import race as step

    with _exclusively("race"):
        ended = step()
        if ended:
            from tasks.steps.finetune import hand_over

            hand_over(ended)


@app.command()
def finetune(strategy: Annotated[str, typer.Option(help="A strategy of params.yaml, or NETWORK/STRATEGY.")]) -> None:
    """Run one strategy: adapt the network, train it, evaluate it on the validation split."""
    if launch.is_worker():
        launch.assist(_take_part)
        return
    from tasks.params import load_params
    from tasks.runs import candidates, handover

    strategy = load_params().candidate(strategy)
    with launch.joined(), _exclusively(layout.stage_of(strategy)):
        if reason := candidates.why_left_out(strategy):
            candidates.leave_out(strategy, reason)
            typer.echo(f"{strategy}: {reason}")
            return
        if handover.take_over(strategy):
            typer.echo(f"{strategy}: its training ended in the race, which has evaluated and tracked it")
            return
        with _starting(strategy):
            from tasks.steps.finetune import finetune as step

        step(strategy)


@app.command()
def compare() -> None:
    """Read the test split once, order the strategies, write the verdict and its report."""
    with _starting("compare"):
        from tasks.comparison.table import show
        from tasks.runs.unlabelled import scored_sentence
        from tasks.steps.compare import compare as step

    with _exclusively("compare"):
        show(step())
    if line := scored_sentence():
        typer.echo(line)


@app.command()
def mend() -> None:
    """Put back the last dvc.lock, if DVC was killed while it wrote a new one."""
    typer.echo(f"thawline: {lockfile.restore() or 'dvc.lock is whole'}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of data/reports/comparison.json."""
    import json

    from tasks.comparison.schema import Comparison

    typer.echo(json.dumps(Comparison.model_json_schema(), indent=2))


@app.command()
def params(
    key: Annotated[str, typer.Argument(help="A section, such as train, or a key, such as lr or train.lr.")] = "",
) -> None:
    """Print what the sections and keys of params.yaml mean."""
    from tasks.params.reference import explain

    explain(key)


def _starting(what: str) -> AbstractContextManager[None]:
    """Show that a step starts: what it imports takes seconds, on a slow disk many."""
    return during(f"{what}: starts")


def _take_part(assignment: launch.Assignment, processes: "ProcessGroup") -> None:
    from tasks.runs.fine_tuning import take_part  # once the first process has something to train

    take_part(assignment, processes)


def main() -> None:
    """Run a step; a user's mistake is one sentence and exit status 2, a signal one and 128 more than its number."""
    try:
        with stopping.by_signals(), naming_what_the_disk_refuses():
            app()
    except UserError as error:
        typer.echo(f"thawline: {workable(str(error))}", err=True)
        sys.exit(2)
    except stopping.InterruptedRun as ended:
        typer.echo(f"thawline: {ended}", err=True)
        sys.exit(ended.status)


if __name__ == "__main__":
    main()
