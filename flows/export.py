"""Export the champion for other runtimes: python -m flows.export --output FOLDER."""

from pathlib import Path
from typing import Annotated, Any

import typer
from prefect import flow
from prefect.client.schemas.objects import State

from flows import artifacts
from flows.commands import one_sentence, say, state_of
from flows.outcome import outcome, sequential_runner
from flows.step_tasks.step_task import completed, step_task
from flows.stopping import stoppable


@step_task("export champion")
def export_champion(output: str, model: str, images: str) -> State[Any]:
    """Write the files, compare them with the network, and show what was measured."""
    from tasks.serving.export_table import show
    from tasks.steps import export

    exported = export.export_champion(Path(output), model, Path(images) if images else None)
    show(exported)
    artifacts.show_export(exported)
    return completed(True)


@flow(name="export", task_runner=sequential_runner())
def export(output: str, model: str = "", images: str = "") -> State[Any]:
    """Export the champion as ONNX and as a program of torch.export.

    Args:
        output: the folder that is written.
        model: address of a champion; empty: the registered one.
        images: folder of image files that the files are compared on; empty: the validation split.
    """
    return stoppable(lambda: outcome([export_champion.submit(output, model, images)]))


def main(
    output: Annotated[Path, typer.Option(help="The folder that is written.")],
    model: Annotated[
        str, typer.Option(help="A champion in MLflow's registry, such as models:/thawline@previous.")
    ] = "",
    images: Annotated[
        str, typer.Option(help="A folder of images to compare on, instead of the validation split.")
    ] = "",
) -> None:
    """Export the champion: model.onnx, model.pt2 and export.json, from uint8 pixels to calibrated probabilities."""
    from tasks.steps.export import check

    with one_sentence():
        check(output)
        state = state_of(export, output=str(output), model=model, images=images)
    say(state, str(output))


if __name__ == "__main__":
    typer.run(main)
