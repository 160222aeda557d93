"""What a strategy's fine-tunings bring to a comparison: their answers on the test split, costs and robustness."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from tasks import layout
from tasks.comparison.entrants import Entrant, Repeated
from tasks.comparison.schema import OnShare, Serving
from tasks.data import manifest
from tasks.data.store import index_of
from tasks.evaluation import metrics, predictions, robustness
from tasks.evaluation.latency import milliseconds
from tasks.evaluation.robustness import Robustness
from tasks.files import digest_of, read_json, sha256_of, write_json
from tasks.params import CompareParams, Params, StrategyParams
from tasks.runs.code import EVALUATION, digest_of_code
from tasks.runs.networks import flips_for, probabilities_of, with_weights
from tasks.runs.prepared import PreparedData
from tasks.runs.repeats import FIRST, Repeat, further_seeds, on_folds, smaller_shares
from tasks.strategies.surgery import Adapted

TIMED_IMAGES, TIMED_RUNS = 64, 3


def entrant_of(name: str, params: Params, data: PreparedData, runs: Mapping[str, str]) -> Entrant:
    """Return all that a comparison needs to know of a strategy.

    Args:
        name: the strategy.
        params: those of all strategies.
        data: the prepared images.
        runs: the MLflow run of each of its fine-tunings, by the one that the fine-tuning recorded.
    """
    first, adapted = _repeated(name, FIRST, params, data, runs)
    history: Any = pd.read_csv(layout.run_file(name, "history.csv")).to_dict("records")
    model, settings = sha256_of(layout.run_file(name, "model.safetensors")), params.strategies[name]
    return Entrant(
        name,
        first.run,
        history,
        first.val,
        first.test,
        _serving(name, adapted, params, data),
        _robustness(model, adapted, settings, data, params.compare) if params.compare.robustness_images else None,
        [_repeated(name, repeat, params, data, runs)[0] for repeat in further_seeds(params.train)],
        [_on_share(name, repeat, data, runs) for repeat in smaller_shares(params.train)],
    )


def _serving(name: str, adapted: Adapted, params: Params, data: PreparedData) -> Serving:
    """Return what an answer costs, as it is measured on validation images."""
    settings, timed = params.strategies[name], data.rows("val").head(TIMED_IMAGES)
    flips = flips_for(settings, params)

    def answering(images: pd.DataFrame) -> Callable[[], object]:
        return lambda: probabilities_of(adapted, data.chosen(images), settings, flips)

    return Serving(
        model_bytes=layout.run_file(name, "model.safetensors").stat().st_size,
        milliseconds=milliseconds(answering(timed.head(1))),
        images_a_second=1000 * len(timed) / milliseconds(answering(timed), TIMED_RUNS),
    )


def _repeated(
    name: str, repeat: Repeat, params: Params, data: PreparedData, runs: Mapping[str, str]
) -> tuple[Repeated, Adapted]:
    """Return a fine-tuning with its answers on the test split, and its network."""
    settings = repeat.settings(params.strategies[name])
    adapted = with_weights(settings, data, layout.run_file(name, "model.safetensors", repeat.name))
    answers = probabilities_of(adapted, data.split("test"), settings, flips_for(settings, params))
    run, val = _validated(name, repeat, data.folds, runs)
    return Repeated(run, val, predictions.table(name, data.rows("test"), answers, data.classes, repeat.name)), adapted


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


def _robustness(
    model: str, adapted: Adapted, settings: StrategyParams, data: PreparedData, params: CompareParams
) -> Robustness:
    """Return a model's scores on corrupted validation images, which are measured once."""
    read = [sha256_of(index_of(layout.PIXELS)), sha256_of(layout.MANIFEST), digest_of_code(EVALUATION)]
    asked = {"model": model, "images": params.robustness_images, "metric": params.metric, "seed": params.seed}
    file = layout.WORK / "robustness" / f"{digest_of([asked, read])}.json"
    if not file.is_file():
        measured = robustness.robustness(
            lambda split: probabilities_of(adapted, split, settings),
            data.split("val"),
            lambda targets, probabilities: metrics.scores(targets, probabilities)[params.metric],
            params.robustness_images,
            params.seed,
        )
        write_json(file, measured.model_dump())
    return Robustness.model_validate(read_json(file))
