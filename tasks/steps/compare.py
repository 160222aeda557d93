"""The strategies held against each other: the only step that reads the test split."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from tasks import layout, tracking, versioning
from tasks.comparison import compare as comparing
from tasks.comparison import report, verdict
from tasks.comparison.findings import findings, suspect_labels
from tasks.comparison.recommendation import recommend
from tasks.comparison.schema import Advised, Chance, Comparison, DataFacts, Robustness, StrategyResult
from tasks.data import manifest, splits
from tasks.data.quality import rows
from tasks.data.store import index_of
from tasks.evaluation import metrics, predictions, robustness
from tasks.files import digest_of, digest_of_tree, read_json, sha256_of, write_bytes, write_json
from tasks.params import CompareParams, Params, StrategyParams, load_params
from tasks.steps.champion import crown
from tasks.steps.data import read_quality
from tasks.steps.prepared import PreparedData, probabilities_of, with_weights
from tasks.steps.probe import read_probe
from tasks.steps.records import data_identity, final_metrics, shared_params, tags
from tasks.strategies.surgery import Adapted

EVALUATION = Path(metrics.__file__).parent


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
    read_at = datetime.now(UTC).isoformat(timespec="seconds")
    entrants = [_entrant(name, settings, data, params.compare) for name, settings in params.strategies.items()]
    ranked = comparing.rank(entrants, data.classes, params.compare)
    found_out = findings(entrants, params, data.classes, _train_counts(data))
    ranked = [result.model_copy(update={"findings": found_out[result.name]}) for result in ranked]
    chance = comparing.chance(entrants, data.classes, params.compare)
    advised = comparing.advised(recommend(read_probe().facts, params.strategies), ranked, params.compare.metric)
    parent = tracking.start_run(
        "comparison", shared_params(params, data), tags("comparison", "", data), data_identity(params)
    )
    try:
        found = _comparison(params, data, ranked, chance, advised, read_at, parent)
        leader = next(entrant for entrant in entrants if entrant.name == found.leader.name)
        found = found.model_copy(update={"suspect_labels": suspect_labels(leader, data.classes)})
        tests = pd.concat([entrant.test for entrant in entrants], ignore_index=True)
        manifest.write_table(tests, predictions.PREDICTIONS, layout.TEST_PREDICTIONS)
        figures = report.write(found, leader.test, _data_page(data), layout.REPORT, layout.WORK / "figures")
        write_bytes(layout.COMPARISON, (found.model_dump_json(indent=2) + "\n").encode())
        _track_comparison(found, figures)
        if found.champion:
            role = "champion" if promote else "challenger"
            tracking.set_tags(parent, {f"thawline.{role}_version": crown(found, params, data, promote=promote)})
    except BaseException:
        tracking.abandon(parent)
        raise
    tracking.finish(parent)
    return found


def last_comparison() -> Comparison:
    """Return the comparison that was written last."""
    return Comparison.model_validate_json(layout.COMPARISON.read_text(encoding="utf-8"))


def _entrant(name: str, settings: StrategyParams, data: PreparedData, params: CompareParams) -> comparing.Entrant:
    model = layout.run_file(name, "model.safetensors")
    adapted = with_weights(settings, data, model)
    tested = probabilities_of(adapted, data.split("test"), settings)
    history: Any = pd.read_csv(layout.run_file(name, "history.csv")).to_dict("records")
    return comparing.Entrant(
        name,
        read_json(layout.run_file(name, "run.json")),
        history,
        manifest.read_table(layout.run_file(name, "predictions.parquet"), predictions.PREDICTIONS),
        predictions.table(name, data.rows("test"), tested, data.classes),
        _robustness(sha256_of(model), adapted, settings, data, params) if params.robustness_images else None,
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
        write_json(kept, asdict(found))
    return Robustness.model_validate(read_json(kept))


def _comparison(
    params: Params,
    data: PreparedData,
    ranked: list[StrategyResult],
    chance: Chance,
    advised: Advised,
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
        unusable=len(quarantine),
    )
    winner = verdict.champion(ranked, chance, params.compare.confidence)
    return Comparison(
        champion=winner.name if winner else None,
        chance=chance,
        advised=advised,
        verdict=verdict.paragraph(ranked, chance, params.compare.metric, params.compare.confidence),
        metric=params.compare.metric,
        confidence=params.compare.confidence,
        test_read_at=read_at,
        data=facts,
        backbone=asdict(data.record),
        mlflow_run_id=parent,
        mlflow_experiment_id=tracking.experiment_id(),
        strategies={result.name: result for result in ranked},
    )


def _train_counts(data: PreparedData) -> dict[str, int]:
    return {str(label): int(count) for label, count in data.rows("train")["label"].value_counts().items()}


def _data_page(data: PreparedData) -> report.DataPage:
    return report.DataPage(read_quality(), read_probe().pretences, data.table, data.picture)


def _verdict_of(result: StrategyResult) -> dict[str, float | None]:
    """Return what a comparison adds to a strategy's metrics in MLflow."""
    return {
        "verdict/difference_to_best": result.versus_best.difference,
        "verdict/p_adjusted": result.versus_best.p_adjusted,
        "verdict/epochs_to_scratch": result.epochs_to_scratch,
        "calibration/temperature": result.calibration.temperature,
        "calibration/test_ece": result.calibration.test_ece,
        "robustness/mean": result.robustness.mean if result.robustness else None,
        "robustness/relative_drop": result.robustness.relative_drop if result.robustness else None,
        "robustness/worst_group": result.worst_group.score if result.worst_group else None,
    }


def _track_comparison(found: Comparison, figures: list[Path]) -> None:
    tracking.adopt(found.mlflow_run_id, [result.mlflow_run_id for result in found.strategies.values()])
    for name, result in found.strategies.items():
        tracking.log_metrics(
            result.mlflow_run_id, final_metrics("test", result.test.model_dump()) | _verdict_of(result)
        )
        tracking.set_tags(
            result.mlflow_run_id,
            {
                "thawline.rank": str(result.rank),
                "thawline.champion": str(name == found.champion).lower(),
                "thawline.diagnosis": ", ".join(finding.tag for finding in result.findings) or "healthy",
            },
        )
    tracking.log_metrics(found.mlflow_run_id, final_metrics("val", found.leader.val.model_dump()))
    tracking.log_metrics(found.mlflow_run_id, final_metrics("test", found.leader.test.model_dump()))
    named = {"thawline.champion": found.champion or "none", "mlflow.note.content": found.verdict}
    tracking.set_tags(found.mlflow_run_id, named)
    tracking.log_files(found.mlflow_run_id, [layout.REPORT, layout.COMPARISON, layout.TEST_PREDICTIONS, layout.QUALITY])
    table = layout.WORK / "data_quality.csv"  # which MLflow's UI shows as a table
    write_bytes(table, pd.DataFrame(rows(read_quality())).to_csv(index=False).encode())
    tracking.log_files(found.mlflow_run_id, [table])
    tracking.log_files(found.mlflow_run_id, figures, "figures")
