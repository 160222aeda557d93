"""Score a folder with the champion: python -m flows.predict FOLDER."""

from pathlib import Path
from typing import Annotated, Any

import typer
from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.chain import link
from flows.running import RAN, one_at_a_time, one_sentence, outcome, say, state_of
from flows.stopping import stoppable
from tasks.steps.score import names_of


@link("score images")
def score_images(folder: str, output: str, model: str) -> State[Any]:
    """Read every file of a folder, answer it, and write the table."""
    from tasks.steps.score import score_folder

    counts = score_folder(Path(folder), Path(output), model)
    rows = [{"label": label, "images": count} for label, count in counts.items()]
    create_table_artifact(rows, key="scores", description=f"What {model or 'the champion'} says of {folder}.")
    return Completed(message=RAN)


@flow(name="predict", task_runner=one_at_a_time())
def predict(folder: str, output: str, model: str = "") -> State[Any]:
    """Score the images of a folder.

    Args:
        folder: of image files, at any depth.
        output: the table, .parquet or .csv.
        model: address of a champion; empty: the registered one.
    """
    return stoppable(lambda: outcome([score_images.submit(folder, output, model)]))


def main(
    folder: Annotated[Path, typer.Argument(help="A folder of image files, at any depth.")],
    output: Annotated[Path, typer.Option(help="The table that is written: .parquet or .csv.")] = Path("scores.parquet"),
    model: Annotated[
        str, typer.Option(help="A champion in MLflow's registry, such as models:/thawline@previous.")
    ] = "",
) -> None:
    """Score a folder with the champion: label, calibrated probability, a flag for images unlike the known ones."""
    with one_sentence():
        names_of(folder, output)
        state = state_of(predict, folder=str(folder), output=str(output), model=model)
    say(state, str(output))


if __name__ == "__main__":
    typer.run(main)
