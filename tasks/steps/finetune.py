"""One strategy: adapt the network, train it, evaluate it on the validation split, as often as the params ask."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tasks import layout, tracking
from tasks.arrays import Floats
from tasks.backbones import weights
from tasks.data import manifest
from tasks.errors import UserError
from tasks.evaluation import metrics, predictions
from tasks.evaluation.classifier import ImageClassifier
from tasks.files import atomic_path, read_json, write_bytes, write_json
from tasks.params import load_params
from tasks.runs.attempts import CHECKPOINT, DIGITS, MEASURED, epochs_allowed, plan_attempt, read_for
from tasks.runs.launch import Assignment, team_for
from tasks.runs.model_logging import track_model
from tasks.runs.prepared import PreparedData, flips_for, probabilities_of, with_weights
from tasks.runs.records import data_identity, final_metrics, flat_params, tags
from tasks.runs.repeats import FIRST, Repeat, repeats
from tasks.runs.trained_network import trained_network
from tasks.training.loop import DivergedError
from tasks.training.measuring import Measurement
from tasks.training.progress import Reporter


def finetune(strategy: str) -> None:
    """Run one strategy end to end, and remove what only an attempt that is killed needs."""
    fine_tunings(strategy)
    clean_up(strategy)


def fine_tunings(strategy: str) -> None:
    """Adapt the network to one strategy, train it, evaluate it on the validation split; then repeat it."""
    for repeat in repeats(load_params(layout.PARAMS).train, manifest.folds_in(layout.MANIFEST)):
        attempt = adapt(strategy, repeat)
        train(attempt)
        evaluate(attempt)


@dataclass(frozen=True)
class Attempt:
    """One go at one strategy.

    Attributes:
        work: the folder of its intermediate files; named after everything the result depends on.
        run_id: its MLflow run.
        repeat: which of the strategy's fine-tunings it is.
    """

    strategy: str
    work: Path
    run_id: str
    repeat: Repeat = FIRST

    @property
    def title(self) -> str:
        """What people are shown."""
        return self.repeat.of(self.strategy)


def adapt(strategy: str, repeat: Repeat = FIRST) -> Attempt:
    """Make the network fit the data, measure what the plan needs, plan what freezes, and start the MLflow run.

    An attempt whose process died is marked as failed; what it had trained is taken over.
    """
    planned = plan_attempt(strategy, repeat)
    params, settings, data, work, plan = planned.params, planned.settings, planned.data, planned.work, planned.plan
    title = repeat.of(strategy)
    described = flat_params(settings, params, data, repeat)
    identified = tags(strategy, planned.identity, data)
    run_id = tracking.start_run(
        title, described, identified, data_identity(params), layout.started(f"finetune@{title}")
    )
    attempt = Attempt(strategy, work, run_id, repeat)
    with _failing(attempt):
        if repeat != FIRST:
            tracking.set_parent(read_json(layout.run_file(strategy, "run.json"))["mlflow_run_id"], [run_id])
        record = planned.record()
        write_json(work / "plan.json", record)
        measured, trainable, total = planned.measurement.measured, record["trainable_parameters"], record["parameters"]
        tracking.log_metrics(
            run_id,
            {"cost/trainable_parameters": trainable, "cost/trainable_share": trainable / total}
            | {f"plan/lr_of_phase_{place + 1}": rate for place, rate in measured.rates.items()}
            | {f"plan/relative_gradient_norm_{part}": share for part, share in measured.shares.items()},
        )
    for line in plan.lines():
        planned.reporter.say(line)
    return attempt


def train(attempt: Attempt) -> None:
    """Fine-tune the network of an attempt and keep its best weights in the attempt's folder."""
    with _failing(attempt):
        params, settings, data = read_for(attempt.strategy, attempt.repeat)
        measurement = Measurement.read(attempt.work / MEASURED)
        trained_here: set[float] = set()
        until = epochs_allowed(attempt.strategy)
        assignment = Assignment(attempt.strategy, attempt.repeat, settings.processes, attempt.work, until)
        with tracking.history(attempt.run_id) as log, team_for(assignment) as team:

            def on_epoch(row: dict[str, float]) -> None:
                trained_here.add(row["epoch"])
                log(row)

            trained = trained_network(
                settings, params, data, measurement, read_json(attempt.work / "plan.json")["frozen"],
                attempt.work / CHECKPOINT, Reporter(attempt.title), on_epoch, until, team,
            )  # fmt: skip
            for row in trained.progress.history:  # an attempt that died trained the others
                if row["epoch"] not in trained_here:
                    log(row)
        weights.save(trained.adapted.model.state_dict(), attempt.work / "model.safetensors")
        write_json(attempt.work / "progress.json", asdict(trained.progress) | {"facts": trained.facts})


def evaluate(attempt: Attempt) -> dict[str, Any]:
    """Predict the validation split, hand the model over, write the strategy's outputs; return its metrics."""
    with _failing(attempt):
        params, settings, data = read_for(attempt.strategy, attempt.repeat)
        flips = flips_for(settings, params)
        adapted = with_weights(settings, data, attempt.work / "model.safetensors")
        probabilities = probabilities_of(adapted, data.split("val"), settings, flips)
        rows = data.rows("val")
        report_ = metrics.report(
            data.split("val").targets.numpy(), probabilities, data.classes, rows["subset"].tolist()
        )
        progress, plan = read_json(attempt.work / "progress.json"), read_json(attempt.work / "plan.json")
        facts = {"params": settings.model_dump(mode="json"), "chosen": progress["facts"]}
        costs = {"train_seconds": progress["seconds"], "peak_memory_mib": progress["peak_memory_mib"]}
        _write_outputs(attempt, data, report_, probabilities, progress, plan | costs | facts)
        tracking.log_metrics(attempt.run_id, final_metrics("val", report_) | {f"cost/{k}": v for k, v in costs.items()})
        if attempt.repeat == FIRST:
            model = ImageClassifier(adapted, data.size, flips).eval()
            measured = Measurement.read(attempt.work / MEASURED)
            range_tests = [(curve, measured.measured.rates[place]) for place, curve in measured.curves.items()]
            track_model(
                attempt.run_id, attempt.strategy, data, model, report_, progress, plan, range_tests, attempt.work
            )
        tracking.finish(attempt.run_id)
    return report_


def clean_up(strategy: str) -> None:
    """Remove what a strategy's attempts kept for being killed, once all of them are done."""
    for work in layout.WORK.glob(f"{strategy}-{'[0-9a-f]' * DIGITS}"):
        shutil.rmtree(work, ignore_errors=True)


def _write_outputs(
    attempt: Attempt,
    data: PreparedData,
    scores: dict[str, Any],
    probabilities: Floats,
    progress: dict[str, Any],
    facts: dict[str, Any],
) -> None:
    def output(name: str) -> Path:
        return layout.run_file(attempt.strategy, name, attempt.repeat.name)

    repeated = layout.repeats(attempt.strategy)
    if attempt.repeat == FIRST:
        if repeated.is_dir():
            shutil.rmtree(repeated)
        repeated.mkdir(parents=True)
    table = predictions.table(attempt.strategy, data.rows("val"), probabilities, data.classes, attempt.repeat.name)
    manifest.write_table(table, predictions.PREDICTIONS, output("predictions.parquet"))
    history = pd.DataFrame(progress["history"]).astype({"epoch": int})
    write_bytes(output("history.csv"), history.to_csv(index=False).encode())
    flat = {key: value for key, value in scores.items() if isinstance(value, float)}
    costs = {key: facts[key] for key in ("train_seconds", "peak_memory_mib", "trainable_parameters")}
    write_json(output("metrics.json"), {"val": flat, **costs})
    if attempt.repeat.share == 1 and attempt.repeat.fold == 0:
        with atomic_path(output("model.safetensors")) as temporary:
            shutil.copyfile(attempt.work / "model.safetensors", temporary)
    finished = {"epochs": progress["epoch"], "best_epoch": progress["best_epoch"], "mlflow_run_id": attempt.run_id}
    finished |= {"images": len(data.rows("train")), "stopped_at": epochs_allowed(attempt.strategy)}
    write_json(output("run.json"), {key: value for key, value in facts.items() if key != "frozen"} | finished)


@contextmanager
def _failing(attempt: Attempt) -> Iterator[None]:
    """Mark the attempt's run as failed when the block raises."""
    try:
        yield
    except DivergedError as error:
        tracking.abandon(attempt.run_id)
        shutil.rmtree(attempt.work, ignore_errors=True)
        cure = f"lower strategies.{attempt.strategy}.lr in params.yaml"
        if attempt.repeat.share < 1:
            cure = f"leave {attempt.repeat.share:g} out of train.shares in params.yaml, or {cure}"
        raise UserError(f"{attempt.title}: {error}; {cure}") from error
    except BaseException:
        tracking.abandon(attempt.run_id)
        raise
