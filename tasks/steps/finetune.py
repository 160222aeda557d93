"""One candidate: adapt the network, train it, evaluate it on the validation split, as often as the params ask."""

import shutil
from collections.abc import Iterator, Sequence
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
from tasks.runs import handover
from tasks.runs.fine_tuning import FineTuning, work_folders
from tasks.runs.launch import processes_for
from tasks.runs.metadata import data_identity, final_metrics, flat_params, tags
from tasks.runs.model_logging import track_model
from tasks.runs.networks import flips_for, probabilities_of, with_weights
from tasks.runs.repeats import FIRST, Repeat, repeats
from tasks.runs.watching import watched
from tasks.training.loop import DivergedError
from tasks.training.rungs import Rung

PLAN, PROGRESS, WEIGHTS = "plan.json", "progress.json", "model.safetensors"  # in an attempt's work folder
AT_ONCE = 2  # attempts whose fine-tunings a process keeps in memory between their tasks


def finetune(strategy: str) -> None:
    """Run one strategy end to end, and remove what only an attempt that is killed needs."""
    fine_tunings(strategy)
    clean_up(strategy)


def fine_tunings(strategy: str) -> None:
    """Adapt the network to one strategy, train it, evaluate it on the validation split; then repeat it."""
    for repeat in _repeats():
        _once(strategy, repeat)


def hand_over(strategies: Sequence[str]) -> None:
    """Evaluate and track strategies whose training the race has ended, for their own stages to take over.

    Those that are fine-tuned several times, or by several processes, are left to them altogether.
    """
    if _repeats() != [FIRST]:
        return
    for strategy in strategies:
        if handover.is_waiting(strategy):
            continue
        fine_tuning = FineTuning.read(strategy)
        if fine_tuning.settings.processes > 1 or _is_recorded(fine_tuning):
            continue
        with handover.handed_over(strategy) as folder:
            _once(strategy, FIRST, folder)
        clean_up(strategy)


def _once(strategy: str, repeat: Repeat, outputs: Path | None = None) -> None:
    attempt = adapt(strategy, repeat, outputs)
    train(attempt)
    evaluate(attempt)


def _repeats() -> list[Repeat]:
    return repeats(load_params(layout.PARAMS).train, manifest.folds_in(layout.MANIFEST))


def _is_recorded(fine_tuning: FineTuning) -> bool:
    """Return whether a fine-tuning has left its outputs before, and ended in the race as it does now."""
    file = layout.run_file(fine_tuning.strategy, "run.json")
    run = read_json(file) if file.is_file() else {}
    return (run.get("identity"), run.get("stopped")) == (fine_tuning.identity, fine_tuning.stopped)


@dataclass(frozen=True)
class Attempt:
    """One go at one strategy.

    Attributes:
        work: the folder of its intermediate files; named after everything the result depends on.
        run_id: its MLflow run.
        repeat: which of the strategy's fine-tunings it is.
        outputs: the folder that takes what it leaves; None: where its stage leaves it.
    """

    strategy: str
    work: Path
    run_id: str
    repeat: Repeat = FIRST
    outputs: Path | None = None

    def output(self, name: str) -> Path:
        """Return where an output lies: ``model.safetensors``, ``metrics.json``, ``history.csv``, …"""
        return self.outputs / name if self.outputs else layout.run_file(self.strategy, name, self.repeat.name)

    @property
    def title(self) -> str:
        """What people are shown."""
        return self.repeat.of(self.strategy)


UNDER_WAY: dict[Attempt, FineTuning] = {}  # what this process has planned and not evaluated yet


def adapt(strategy: str, repeat: Repeat = FIRST, outputs: Path | None = None) -> Attempt:
    """Make the network fit the data, measure what the plan needs, plan what freezes, and start the MLflow run.

    An attempt whose process died is marked as failed; what it had trained is taken over.

    Args:
        strategy: its name.
        repeat: which of its fine-tunings.
        outputs: the folder that takes what the attempt leaves; None: where its stage leaves it.
    """
    fine_tuning = FineTuning.read(strategy, repeat)
    params, settings, data, title = fine_tuning.params, fine_tuning.settings, fine_tuning.data, fine_tuning.title
    plan = fine_tuning.make_plan()
    run_id = tracking.start_run(
        title,
        flat_params(settings, params, data, repeat, plan),
        tags(strategy, fine_tuning.identity, params, data),
        data_identity(params),
        layout.started(f"finetune@{repeat.of(strategy)}"),
    )
    attempt = Attempt(strategy, fine_tuning.work, run_id, repeat, outputs)
    with _failing(attempt):
        if repeat != FIRST:
            tracking.set_parent(read_json(layout.run_file(strategy, "run.json"))["mlflow_run_id"], [run_id])
        write_json(attempt.work / PLAN, plan)
        measured, trainable, total = fine_tuning.measurement.measured, plan["trainable_parameters"], plan["parameters"]
        tracking.log_metrics(
            run_id,
            {"cost/trainable_parameters": trainable, "cost/trainable_share": trainable / total}
            | {f"plan/lr_of_phase_{place + 1}": rate for place, rate in measured.rates.items()}
            | {f"plan/relative_gradient_norm_{part}": share for part, share in measured.shares.items()},
        )
    for line in fine_tuning.plan.lines():
        fine_tuning.reporter.say(line)
    _keep(attempt, fine_tuning)
    return attempt


def train(attempt: Attempt) -> None:
    """Fine-tune the network of an attempt and keep its best weights in the attempt's folder."""
    with _failing(attempt):
        fine_tuning = _fine_tuning_of(attempt)
        trained_here: set[float] = set()
        until = fine_tuning.steps_allowed
        with tracking.history(attempt.run_id) as log, processes_for(fine_tuning.assignment(until)) as processes:

            def on_epoch(row: dict[str, float]) -> None:
                trained_here.add(row["epoch"])
                log(row)

            trained = fine_tuning.train(on_epoch, until, processes)
            for row in trained.progress.history:  # an attempt that died trained the others
                if row["epoch"] not in trained_here:
                    log(row)
        weights.save(trained.adapted.model.state_dict(), attempt.work / WEIGHTS)
        write_json(attempt.work / PROGRESS, asdict(trained.progress) | {"facts": trained.facts})


def evaluate(attempt: Attempt) -> dict[str, Any]:
    """Predict the validation split, hand the model over, write the strategy's outputs; return its metrics.

    The network is made anew from the file of its weights, as everybody makes it who is handed them.
    """
    with _failing(attempt):
        fine_tuning = _fine_tuning_of(attempt)
        settings, data = fine_tuning.settings, fine_tuning.data
        flips, val = flips_for(settings, fine_tuning.params), data.split("val")
        adapted = with_weights(settings, data, attempt.work / WEIGHTS)
        probabilities = _shown_in_the_race(fine_tuning)
        if probabilities is None:
            with watched(f"{fine_tuning.title}: validation images", val) as images:
                probabilities = probabilities_of(adapted, images, settings, flips)
        groups = data.rows("val")["subset"].tolist()
        scores = metrics.report(val.targets.numpy(), probabilities, data.classes, groups)
        progress, plan = read_json(attempt.work / PROGRESS), read_json(attempt.work / PLAN)
        costs = {"train_seconds": progress["seconds"], "peak_memory_mib": progress["peak_memory_mib"]}
        chosen = {"params": settings.model_dump(mode="json"), "chosen": progress["facts"]}
        _write_outputs(attempt, fine_tuning, scores, probabilities, progress, plan | costs | chosen)
        tracking.log_metrics(attempt.run_id, final_metrics("val", scores) | {f"cost/{k}": v for k, v in costs.items()})
        if attempt.repeat == FIRST:
            model = ImageClassifier(adapted, data.size, flips).eval()
            curves, rates = fine_tuning.measurement.curves, fine_tuning.measurement.measured.rates
            range_tests = [(curve, rates[place]) for place, curve in curves.items()]
            track_model(
                attempt.run_id, attempt.output, data, settings, model, scores, progress, plan, range_tests,
                attempt.work,
            )  # fmt: skip
        tracking.finish(attempt.run_id)
        UNDER_WAY.pop(attempt, None)
    return scores


def _shown_in_the_race(fine_tuning: FineTuning) -> Floats | None:
    """Return what a strategy that lost the race answered there, without flips; None: it did not lose, or not there."""
    until = fine_tuning.steps_allowed
    seen = Rung.read(fine_tuning.rung_file(until)) if until and fine_tuning.lost_race else None
    return seen.probabilities if seen else None


def clean_up(strategy: str) -> None:
    """Remove what a strategy's attempts kept for being killed, once all of them are done."""
    for work in work_folders(strategy):
        shutil.rmtree(work, ignore_errors=True)


def _keep(attempt: Attempt, fine_tuning: FineTuning) -> None:
    """Keep what was read and built for the attempt's next task in this process; what nobody came for is let go of."""
    while len(UNDER_WAY) >= AT_ONCE:
        UNDER_WAY.pop(next(iter(UNDER_WAY)))
    UNDER_WAY[attempt] = fine_tuning


def _fine_tuning_of(attempt: Attempt) -> FineTuning:
    """Return what this process planned of an attempt, or read it, if another process did."""
    if attempt not in UNDER_WAY:
        _keep(attempt, FineTuning.read(attempt.strategy, attempt.repeat, attempt.work))
    return UNDER_WAY[attempt]


def _write_outputs(
    attempt: Attempt,
    fine_tuning: FineTuning,
    scores: dict[str, Any],
    probabilities: Floats,
    progress: dict[str, Any],
    facts: dict[str, Any],
) -> None:
    """Write what a fine-tuning leaves to later stages; the first one of a strategy removes those of its repeats."""
    data, output, repeats_folder = fine_tuning.data, attempt.output, attempt.output(layout.REPEATS)
    if attempt.repeat == FIRST:
        if repeats_folder.is_dir():
            shutil.rmtree(repeats_folder)
        repeats_folder.mkdir(parents=True)
    table = predictions.table(attempt.strategy, data.rows("val"), probabilities, data.classes, attempt.repeat.name)
    manifest.write_table(table, predictions.PREDICTIONS, output("predictions.parquet"))
    history = pd.DataFrame(progress["history"]).astype({"epoch": int})
    write_bytes(output("history.csv"), history.to_csv(index=False).encode())
    flat = {key: value for key, value in scores.items() if isinstance(value, float)}
    costs = {key: facts[key] for key in ("train_seconds", "peak_memory_mib", "trainable_parameters")}
    write_json(output("metrics.json"), {"val": flat, **costs})
    if attempt.repeat.share == 1 and attempt.repeat.fold == 0:
        with atomic_path(output("model.safetensors")) as temporary:
            shutil.copyfile(attempt.work / WEIGHTS, temporary)
    finished = {"epochs": progress["epoch"], "best_epoch": progress["best_epoch"], "mlflow_run_id": attempt.run_id}
    finished |= {"images": len(data.rows("train")), "stopped": fine_tuning.stopped}
    write_json(output("run.json"), {key: value for key, value in facts.items() if key != "frozen"} | finished)


@contextmanager
def _failing(attempt: Attempt) -> Iterator[None]:
    """Mark the attempt's run as failed when the block raises."""
    try:
        yield
    except BaseException as error:
        tracking.abandon(attempt.run_id)
        UNDER_WAY.pop(attempt, None)
        if not isinstance(error, DivergedError):
            raise
        shutil.rmtree(attempt.work, ignore_errors=True)
        network, strategy = layout.network_of(attempt.strategy), attempt.strategy.rpartition("/")[2]
        place = f"backbones.{network}.strategies" if network else "strategies"
        cure = f"lower {place}.{strategy}.lr in params.yaml"
        if attempt.repeat.share < 1:
            cure = f"leave {attempt.repeat.share:g} out of train.shares in params.yaml, or {cure}"
        raise UserError(f"{attempt.title}: {error}; {cure}") from error
