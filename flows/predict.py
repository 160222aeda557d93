"""Score images with the champion: python -m flows.predict IMAGES."""

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
from tasks.steps.predict import images_of, must_be_written


@step_task("score images")
def score_images(images: list[str], output: str, model: str) -> State[Any]:
    """Read every file, answer it, and write the table."""
    from tasks.steps import predict

    counts = predict.score_images(images, Path(output), model)
    artifacts.show_scores(counts, images, model)
    return completed(True)


@flow(name="predict", task_runner=sequential_runner())
def predict(images: list[str], output: str, model: str = "") -> State[Any]:
    """Score images.

    Args:
        images: files, folders of files, at any depth, and patterns.
        output: the table: .csv, .tsv, .jsonl or .parquet.
        model: address of a champion; empty: the registered one.
    """
    return stoppable(lambda: outcome([score_images.submit(images, output, model)]))


def main(
    images: Annotated[
        list[str], typer.Argument(help="Images, folders of images, at any depth, and patterns such as 'photos/*.jpg'.")
    ],
    output: Annotated[Path, typer.Option(help="The table that is written: .csv, .tsv, .jsonl or .parquet.")] = Path(
        "scores.parquet"
    ),
    model: Annotated[
        str, typer.Option(help="A champion in MLflow's registry, such as models:/thawline@previous.")
    ] = "",
) -> None:
    """Score images with the champion: label, calibrated probability, a flag for images unlike the known ones."""
    with one_sentence():
        must_be_written(output)
        images_of(images, output)
        state = state_of(predict, images=images, output=str(output), model=model)
    say(state, str(output))


if __name__ == "__main__":
    typer.run(main)
