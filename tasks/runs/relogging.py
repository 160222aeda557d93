"""Runs that MLflow lacks by now - deleted, or in another store or experiment - logged anew, from the files."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tasks import layout, tracking
from tasks.data import manifest
from tasks.evaluation import metrics, predictions
from tasks.evaluation.classifier import ImageClassifier
from tasks.evaluation.predictions import targets_of
from tasks.files import read_json, write_json
from tasks.params import Params, load_params
from tasks.runs.metadata import data_identity, final_metrics, flat_params, tags
from tasks.runs.model_logging import final_costs, track_model
from tasks.runs.networks import flips_for, with_weights
from tasks.runs.prepared import PreparedData
from tasks.runs.repeats import FIRST, Repeat, repeats
from tasks.tracking.whereabouts import STANDS_FOR_TAG, whereabouts
from tasks.training.progress import Reporter

PLANNED = ("strategy", "identity", "parts", "phases", "engine", "precision")  # of a record, as its plan has it


def runs_of(candidates: Iterable[str], params: Params, data: PreparedData) -> dict[str, str]:
    """Return the MLflow run of every fine-tuning of some candidates, by the run that the fine-tuning recorded.

    They are all in the experiment that runs go to. What it lacks is logged anew, and a line says so.
    """
    current_runs: dict[str, str] = {}
    for candidate in candidates:
        family = [_Finished.read(candidate, repeat) for repeat in repeats(params.train, data.folds)]
        on_network = data.on(layout.network_of(candidate))
        runs = {finished.recorded: _run_of(finished, params, on_network) for finished in family}
        first, *others = runs.values()
        tracking.set_parent(first, others)
        current_runs |= runs
    return current_runs


@dataclass(frozen=True)
class _Finished:
    """A fine-tuning as its files have it.

    Attributes:
        run: what it recorded of itself.
    """

    strategy: str
    repeat: Repeat
    run: dict[str, Any]

    @classmethod
    def read(cls, strategy: str, repeat: Repeat) -> "_Finished":
        return cls(strategy, repeat, read_json(layout.run_file(strategy, "run.json", repeat.name)))

    @property
    def recorded(self) -> str:
        return str(self.run["mlflow_run_id"])

    def title(self, params: Params) -> str:
        return self.repeat.of(params.title(self.strategy))

    def file(self, name: str) -> Path:
        return layout.run_file(self.strategy, name, self.repeat.name)


def _run_of(finished: _Finished, params: Params, data: PreparedData) -> str:
    known = whereabouts(finished.recorded)
    if known.run_id:
        return known.run_id
    seen = data.on_fold(finished.repeat.fold).thinned(finished.repeat.share, params.split.seed)
    run_id = _logged_anew(finished, params, seen)
    files = finished.file("run.json").parent
    Reporter(finished.title(params)).say(
        f"its MLflow run {finished.recorded} {known.fate}: logged anew as {run_id} from {files}, without training"
    )
    return run_id


def _logged_anew(finished: _Finished, params: Params, data: PreparedData) -> str:
    """Log a fine-tuning as its own step did, but for the rates that it tried; return the new run."""
    settings = finished.repeat.settings(params.strategy(finished.strategy))
    run_id = tracking.start_run(
        finished.title(params),
        flat_params(settings, params, data, finished.repeat, finished.run),
        tags(finished.strategy, finished.run["identity"], load_params(layout.PARAMS), data) | _relogged_tags(finished),
        data_identity(params),
        layout.started(f"finetune@{finished.repeat.of(finished.strategy)}"),
    )
    try:
        rows: Any = pd.read_csv(finished.file("history.csv")).to_dict("records")
        with tracking.history(run_id) as log:
            for row in rows:
                log(row)
        scores = _scores(finished, data)
        tracking.log_metrics(run_id, final_costs(finished.run) | final_metrics("val", scores))
        if finished.repeat == FIRST:
            adapted = with_weights(settings, data, finished.file("model.safetensors"))
            model = ImageClassifier(adapted, data.size, flips_for(settings, params)).eval()
            folder = layout.WORK / "anew" / finished.strategy
            write_json(folder / "plan.json", {key: finished.run[key] for key in PLANNED})
            progress = {"history": rows, "best_epoch": finished.run["best_epoch"]}
            track_model(run_id, finished.file, data, settings, model, scores, progress, finished.run, [], folder)
    except BaseException:
        tracking.abandon(run_id)
        raise
    tracking.finish(run_id)
    return run_id


def _relogged_tags(finished: _Finished) -> dict[str, str]:
    return {"thawline.stage": layout.stage_of(finished.strategy), STANDS_FOR_TAG: finished.recorded}


def _scores(finished: _Finished, data: PreparedData) -> dict[str, Any]:
    """Return the report on the validation split, from the answers that were kept."""
    answers = manifest.read_table(finished.file("predictions.parquet"), predictions.PREDICTIONS)
    probabilities = predictions.probabilities_of(answers, data.classes)
    return metrics.report(
        targets_of(answers, data.classes), probabilities, data.classes, data.rows("val")["subset"].tolist()
    )
