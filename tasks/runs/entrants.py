"""What a strategy's fine-tunings bring to a comparison: their answers on the test split, costs and robustness."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from tasks import layout
from tasks.arrays import Floats
from tasks.comparison.entrants import Entrant, Repeated
from tasks.comparison.ranking import Measured
from tasks.comparison.schema import OnShare, Serving, Stopped
from tasks.data import manifest
from tasks.data.store import index_of
from tasks.evaluation import metrics, predictions, robustness
from tasks.evaluation.latency import milliseconds
from tasks.evaluation.robustness import Robustness
from tasks.files import digest_of, read_json, sha256_of, write_json
from tasks.params import Params
from tasks.progress import plain_console
from tasks.runs.candidates import milliseconds_of
from tasks.runs.code import EVALUATION, digest_of_code
from tasks.runs.networks import flips_for, probabilities_of, with_weights
from tasks.runs.prepared import PreparedData
from tasks.runs.repeats import FIRST, Repeat, further_seeds, on_folds, smaller_shares
from tasks.runs.watching import watched
from tasks.serving.champion import answers
from tasks.strategies.surgery import Adapted
from tasks.training.batches import Split

TIMED_IMAGES, TIMED_RUNS = 64, 3


def lost_race(name: str) -> bool:
    """Return whether the race stopped a strategy because it could not win any more."""
    stopped = read_json(layout.run_file(name, "run.json"))["stopped"]
    return bool(stopped) and Stopped(**stopped).at_least is not None


def entrant_of(name: str, params: Params, data: PreparedData, runs: Mapping[str, str], *, tested: bool) -> Entrant:
    """Return all that a comparison needs to know of a strategy.

    Args:
        name: the candidate.
        params: those of all strategies.
        data: the prepared images.
        runs: the MLflow run of each of its fine-tunings, by the one that the fine-tuning recorded.
        tested: whether it answers the test split; if not, its first fine-tuning is all that counts.
    """
    data = data.on(layout.network_of(name))
    first = _repeated(name, FIRST, params, data, runs, tested=tested)
    return Entrant(
        params.title(name),
        first.run,
        _history(name),
        first.val,
        first.test,
        [_repeated(name, repeat, params, data, runs) for repeat in further_seeds(params.train) if tested],
        [_on_share(name, repeat, data, runs) for repeat in smaller_shares(params.train) if tested],
        params.network_title(data.network),
        milliseconds_of(data.network, params),
    )


def measure(title: str, params: Params, data: PreparedData) -> Measured:
    """Return what an answer of a candidate costs, and what scores corrupted validation images leave it."""
    name = params.candidate(title)
    data = data.on(layout.network_of(name))
    adapted = with_weights(params.strategy(name), data, layout.run_file(name, "model.safetensors"))
    asked = params.compare.robustness_images != 0
    return Measured(
        serving=_serving(name, adapted, params, data),
        robustness=_robustness(name, adapted, params, data) if asked else None,
    )


def _serving(name: str, adapted: Adapted, params: Params, data: PreparedData) -> Serving:
    """Return what an answer costs, as it is measured on validation images: in the way in which a champion answers."""
    settings, timed = params.strategy(name), data.rows("val").head(TIMED_IMAGES)
    flips = flips_for(settings, params)

    def answering(images: pd.DataFrame) -> Callable[[], object]:
        chosen = data.chosen(images)
        return lambda: answers(adapted, chosen, settings, flips)

    plain_console().print(f"{params.title(name)}: seconds of an answer")
    return Serving(
        model_bytes=layout.run_file(name, "model.safetensors").stat().st_size,
        milliseconds=milliseconds(answering(timed.head(1))),
        images_a_second=1000 * len(timed) / milliseconds(answering(timed), TIMED_RUNS),
    )


def _history(name: str) -> list[dict[str, float]]:
    rows: Any = pd.read_csv(layout.run_file(name, "history.csv")).to_dict("records")
    history: list[dict[str, float]] = rows
    return history


def _repeated(
    name: str, repeat: Repeat, params: Params, data: PreparedData, runs: Mapping[str, str], *, tested: bool = True
) -> Repeated:
    """Return a fine-tuning with its answers on the test split, if it is tested."""
    run, val = _validated(name, repeat, data.folds if tested else 0, runs)
    return Repeated(run, val, _answers(name, repeat, params, data) if tested else None)


def _answers(name: str, repeat: Repeat, params: Params, data: PreparedData) -> pd.DataFrame:
    """Return what a fine-tuning answers to the test split."""
    settings = repeat.settings(params.strategy(name))
    adapted = with_weights(settings, data, layout.run_file(name, "model.safetensors", repeat.name))
    with watched(f"{repeat.of(params.title(name))}: test images", data.split("test")) as images:
        probabilities = probabilities_of(adapted, images, settings, flips_for(settings, params))
    return predictions.table(params.title(name), data.rows("test"), probabilities, data.classes, repeat.name)


def _validated(name: str, repeat: Repeat, folds: int, runs: Mapping[str, str]) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return what a fine-tuning recorded of itself, its run of now with it, and its answers on what it is validated on.

    That is the validation split or, if there are folds, all of them.
    """
    run = read_json(layout.run_file(name, "run.json", repeat.name))
    recorded = run["mlflow_run_id"]
    run |= {"mlflow_run_id": runs[recorded], "recorded_run_id": recorded}
    files = [layout.run_file(name, "predictions.parquet", on_fold.name) for on_fold in on_folds(repeat, folds)]
    tables = [manifest.read_table(file, predictions.PREDICTIONS) for file in files]
    return run, pd.concat(tables, ignore_index=True)


def _on_share(name: str, repeat: Repeat, data: PreparedData, runs: Mapping[str, str]) -> OnShare:
    run, val = _validated(name, repeat, data.folds, runs)
    return OnShare(
        share=repeat.share,
        images=run["images"],
        val=metrics.scores(predictions.targets_of(val, data.classes), predictions.probabilities_of(val, data.classes)),
        train_seconds=run["train_seconds"],
        mlflow_run_id=run["mlflow_run_id"],
    )


def _robustness(name: str, adapted: Adapted, params: Params, data: PreparedData) -> Robustness:
    """Return a candidate's scores on corrupted validation images, which are measured once.

    Images are answered without their flips, corrupted or not, which tells what is lost at a quarter of the cost.
    """
    settings, asked = params.strategy(name), params.compare
    model = sha256_of(layout.run_file(name, "model.safetensors"))
    read = [sha256_of(index_of(layout.PIXELS)), sha256_of(layout.MANIFEST), digest_of_code(EVALUATION)]
    settled = {"model": model, **asked.model_dump(include={"robustness_images", "metric", "seed"})}
    file = layout.WORK / "robustness" / f"{digest_of([settled, read])}.json"

    def answered(images: Split) -> Floats:
        with watched(f"{params.title(name)}: corrupted images", images) as shown:
            return probabilities_of(adapted, shown, settings)

    if not file.is_file():
        val = data.split("val")
        measured = robustness.robustness(
            answered,
            val,
            probabilities_of(adapted, val, settings),
            lambda targets, probabilities: metrics.scores(targets, probabilities)[asked.metric],
            asked.robustness_images,
            asked.seed,
        )
        write_json(file, measured.model_dump())
    return Robustness.model_validate(read_json(file))
