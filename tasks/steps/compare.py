"""The strategies held against each other: the only step that reads the test split."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from tasks import layout, tracking, versioning
from tasks.comparison import ranking, report, summary, verdict
from tasks.comparison.entrants import Entrant, Repeated
from tasks.comparison.findings import findings, suspect_labels
from tasks.comparison.recommendation import recommend
from tasks.comparison.schema import (
    Advised,
    Chance,
    Comparison,
    DataFacts,
    OnShare,
    Racing,
    Serving,
    StrategyResult,
)
from tasks.data import manifest, splits
from tasks.data.quality import rows
from tasks.data.store import index_of
from tasks.evaluation import metrics, predictions, robustness
from tasks.evaluation.latency import milliseconds
from tasks.evaluation.robustness import Robustness
from tasks.evaluation.saliency import Map, saliency
from tasks.files import digest_of, digest_of_tree, read_json, sha256_of, write_bytes, write_json
from tasks.params import CompareParams, Params, StrategyParams, load_params
from tasks.runs import relogging, unlabelled
from tasks.runs.outputs import read_probe, read_quality
from tasks.runs.prepared import PreparedData, flips_for, probabilities_of, with_weights
from tasks.runs.records import data_identity, final_metrics, made_with, shared_params, tags
from tasks.runs.registration import CROWNED, register_champion
from tasks.runs.repeats import FIRST, Repeat, further_seeds, on_folds, smaller_shares
from tasks.strategies.surgery import Adapted
from tasks.tracking import mlflow_ui
from tasks.training import device

EVALUATION = Path(metrics.__file__).parent
TIMED_IMAGES, TIMED_RUNS = 64, 3

Runs = dict[str, str]  # the MLflow run of a fine-tuning, by the one that it recorded


def compare(*, only: str = "", promote: bool = True) -> Comparison:
    """Read the test split, order the strategies, and write the verdict, the report and their MLflow run.

    Args:
        only: a strategy, which is then the only one that is looked at.
        promote: register the winner as the champion; otherwise as the challenger, which leaves the champion be.
    """
    params = load_params(layout.PARAMS)
    if only:
        params = params.model_copy(update={"strategies": {only: params.strategy(only)}})
    data = PreparedData.read()
    without_label = unlabelled.waiting(params.data)
    read_at = datetime.now(UTC).isoformat(timespec="seconds")
    runs = relogging.runs_of(params, data)
    entrants = [_entrant(name, params, data, runs) for name in params.strategies]
    ranked = ranking.rank(entrants, data.classes, params.compare)
    found_out = findings(entrants, params, data.classes, _train_counts(data))
    ranked = [result.model_copy(update={"findings": found_out[result.name]}) for result in ranked]
    chance = ranking.chance(entrants, data.classes, params.compare)
    advised = ranking.advised(recommend(read_probe().facts, params.strategies), ranked, params.compare.metric)
    parent = tracking.start_run(
        "comparison", shared_params(params, data), tags("comparison", "", data), data_identity(params),
        layout.started("compare"),
    )  # fmt: skip
    try:
        raced = ranking.racing(entrants, ranked, params)
        found = _comparison(params, data, ranked, chance, advised, raced, read_at, parent)
        leader = next(entrant for entrant in entrants if entrant.name == found.leader.name)
        found = found.model_copy(update={"suspect_labels": suspect_labels(leader, data.classes)})
        tests = pd.concat([table for entrant in entrants for table in entrant.tables("test")], ignore_index=True)
        manifest.write_table(tests, predictions.PREDICTIONS, layout.TEST_PREDICTIONS)
        figures = report.write(
            found, leader.test, _data_page(data), _saliency(leader.name, params, data), layout.REPORT,
            layout.WORK / "figures",
        )  # fmt: skip
        write_bytes(layout.COMPARISON, (found.model_dump_json(indent=2) + "\n").encode())
        _track_comparison(found, figures)
        if found.champion:
            role = "champion" if promote else "challenger"
            tracking.set_tags(
                parent, {f"thawline.{role}_version": register_champion(found, params, data, promote=promote)}
            )
        unlabelled.score_unlabelled(without_label, CROWNED if found.champion else None, data.classes)
        if without_label.names:
            tracking.log_files(parent, [layout.UNLABELLED_SCORES])
    except BaseException:
        tracking.abandon(parent)
        raise
    tracking.finish(parent)
    return found


def _entrant(name: str, params: Params, data: PreparedData, runs: Runs) -> Entrant:
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


def _repeated(name: str, repeat: Repeat, params: Params, data: PreparedData, runs: Runs) -> tuple[Repeated, Adapted]:
    """Return a fine-tuning with its answers on the test split, and its network."""
    settings = repeat.settings(params.strategies[name])
    adapted = with_weights(settings, data, layout.run_file(name, "model.safetensors", repeat.name))
    answers = probabilities_of(adapted, data.split("test"), settings, flips_for(settings, params))
    run, val = _validated(name, repeat, data.folds, runs)
    return Repeated(run, val, predictions.table(name, data.rows("test"), answers, data.classes, repeat.name)), adapted


def _validated(name: str, repeat: Repeat, folds: int, runs: Runs) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return what a fine-tuning recorded of itself, its run of now with it, and its answers on what it is validated on.

    That is the validation split or, if there are folds, all of them.
    """
    run = read_json(layout.run_file(name, "run.json", repeat.name))
    recorded = run["mlflow_run_id"]
    run |= {"mlflow_run_id": runs[recorded], "recorded_run_id": recorded}
    files = [layout.run_file(name, "predictions.parquet", one.name) for one in on_folds(repeat, folds)]
    tables = [manifest.read_table(file, predictions.PREDICTIONS) for file in files]
    return run, pd.concat(tables, ignore_index=True)


def _on_share(name: str, repeat: Repeat, data: PreparedData, runs: Runs) -> OnShare:
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
    read = [sha256_of(index_of(layout.PIXELS)), sha256_of(layout.MANIFEST), digest_of_tree(EVALUATION, "*.py")]
    asked = {"model": model, "images": params.robustness_images, "metric": params.metric, "seed": params.seed}
    kept = layout.WORK / "robustness" / f"{digest_of([asked, read])}.json"
    if not kept.is_file():
        found = robustness.robustness(
            lambda split: probabilities_of(adapted, split, settings),
            data.split("val"),
            lambda targets, probabilities: metrics.scores(targets, probabilities)[params.metric],
            params.robustness_images,
            params.seed,
        )
        write_json(kept, found.model_dump())
    return Robustness.model_validate(read_json(kept))


def _comparison(
    params: Params,
    data: PreparedData,
    ranked: list[StrategyResult],
    chance: Chance,
    advised: Advised,
    raced: Racing,
    read_at: str,
    parent: str,
) -> Comparison:
    quarantine = manifest.read_table(layout.QUARANTINE, manifest.QUARANTINE)
    facts = DataFacts(
        source=params.data.source,
        path=params.data.path,
        digest=versioning.data_digest(params.data),
        classes=data.classes,
        channels=data.channels,
        size=data.size,
        images={split: len(data.rows(split)) for split in splits.SPLITS},
        folds=data.folds,
        unusable=len(quarantine),
    )
    winner = verdict.champion(ranked, chance, params.compare.confidence)
    return Comparison(
        champion=winner.name if winner else None,
        chance=chance,
        advised=advised,
        racing=raced,
        verdict=verdict.paragraph(ranked, chance, params.compare.metric, params.compare.confidence, data.folds),
        metric=params.compare.metric,
        confidence=params.compare.confidence,
        test_read_at=read_at,
        data=facts,
        backbone=asdict(data.record),
        made_with=made_with(params),
        mlflow_run_id=parent,
        mlflow_experiment_id=tracking.experiment_id(),
        strategies={result.name: result for result in ranked},
    )


def _train_counts(data: PreparedData) -> dict[str, int]:
    return {str(label): int(count) for label, count in data.rows("train")["label"].value_counts().items()}


def _data_page(data: PreparedData) -> report.DataPage:
    return report.DataPage(read_quality(), read_probe().pretences, data.table, data.picture)


def _saliency(name: str, params: Params, data: PreparedData) -> Callable[[str, str], Map]:
    """Return what shows which part of an image speaks for a class, by the network that a strategy left."""
    settings = params.strategies[name]
    adapted = with_weights(settings, data, layout.run_file(name, "model.safetensors"))
    hardware = device.choose(settings)
    return lambda path, label: saliency(adapted, data.picture(path), data.classes.index(label), hardware.device)


def _verdict_of(result: StrategyResult) -> dict[str, float | None]:
    """Return what a comparison adds to a strategy's metrics in MLflow."""
    return {
        "verdict/difference_to_best": result.versus_best.difference,
        "verdict/p_adjusted": result.versus_best.p_adjusted,
        "verdict/epochs_to_scratch": result.epochs_to_scratch,
        "cost/latency_ms": result.serving.milliseconds,
        "cost/images_a_second": result.serving.images_a_second,
        "cost/model_mb": result.serving.model_bytes / 1e6,
        "calibration/temperature": result.calibration.temperature,
        "calibration/test_ece": result.calibration.test_ece,
        **_over_seeds_of(result),
        "robustness/mean": result.robustness.mean if result.robustness else None,
        "robustness/relative_drop": result.robustness.relative_drop if result.robustness else None,
        "robustness/worst_group": result.worst_group.score if result.worst_group else None,
    }


def _over_seeds_of(result: StrategyResult) -> dict[str, float | None]:
    if result.over_seeds is None:
        return {}
    splits = {"val": result.over_seeds.val, "test": result.over_seeds.test}
    return {
        f"{split}_{kind}/{metric}": getattr(spread, kind)
        for split, spreads in splits.items()
        for metric, spread in spreads.items()
        for kind in ("mean", "std")
    }


def _track_comparison(found: Comparison, figures: list[Path]) -> None:
    tracking.set_parent(found.mlflow_run_id, [result.mlflow_run_id for result in found.strategies.values()])
    for name, result in found.strategies.items():
        tracking.log_metrics(
            result.mlflow_run_id, final_metrics("test", result.test.model_dump()) | _verdict_of(result)
        )
        if found.data.folds:
            tracking.log_metrics(result.mlflow_run_id, final_metrics("cv", result.val.model_dump()))
        by_images = {point.images: point.val for point in result.by_share}
        if by_images:
            tracking.log_curves(
                result.mlflow_run_id, "images", {**by_images, found.data.images["train"]: result.val.figures()}
            )
        tracking.set_tags(
            result.mlflow_run_id,
            {
                "mlflow.note.content": summary.of_strategy(result, found),
                mlflow_ui.COLOUR_TAG: mlflow_ui.colour_of(result.rank),
                "thawline.rank": str(result.rank),
                "thawline.champion": str(name == found.champion).lower(),
                "thawline.diagnosis": ", ".join(finding.tag for finding in result.findings) or "healthy",
            },
        )
    tracking.log_metrics(found.mlflow_run_id, final_metrics("val", found.leader.val.model_dump()))
    tracking.log_metrics(found.mlflow_run_id, final_metrics("test", found.leader.test.model_dump()))
    more = mlflow_ui.links(found.mlflow_run_id, [result.mlflow_run_id for result in found.strategies.values()])
    named = {"thawline.champion": found.champion or "none", "mlflow.note.content": summary.markdown(found, more)}
    tracking.set_tags(found.mlflow_run_id, named)
    mlflow_ui.save_view(found.mlflow_run_id, found.metric)
    tracking.log_files(found.mlflow_run_id, [layout.REPORT, layout.COMPARISON, layout.TEST_PREDICTIONS, layout.QUALITY])
    table = layout.WORK / "data_quality.csv"  # which MLflow's UI shows as a table
    write_bytes(table, pd.DataFrame(rows(read_quality())).to_csv(index=False).encode())
    tracking.log_files(found.mlflow_run_id, [table])
    tracking.log_files(found.mlflow_run_id, figures, "figures")
