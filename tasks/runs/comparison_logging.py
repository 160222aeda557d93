"""What MLflow is handed of a comparison: the verdict on every strategy, and the report."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tasks import layout, tracking
from tasks.comparison import summary
from tasks.comparison.schema import Comparison, StrategyResult
from tasks.data.quality import rows
from tasks.files import write_bytes
from tasks.runs.metadata import final_metrics
from tasks.runs.outputs import read_quality
from tasks.tracking import mlflow_ui


def log_comparison(comparison: Comparison, figures: Sequence[Path]) -> None:
    """Log a comparison's verdict, files and figures to its run, and to each strategy's what it adds to that one.

    Args:
        comparison: whose files are written.
        figures: files that go with it.
    """
    run_id, children = comparison.mlflow_run_id, [result.mlflow_run_id for result in comparison.strategies.values()]
    tracking.set_parent(run_id, children)
    for result in comparison.strategies.values():
        _log_result(result, comparison)
    tracking.log_metrics(run_id, final_metrics("val", comparison.leader.val.model_dump()))
    tracking.log_metrics(run_id, final_metrics("test", comparison.leader.test.model_dump()))
    note = summary.markdown(comparison, mlflow_ui.links(run_id, children))
    tracking.set_tags(run_id, {"thawline.champion": comparison.champion or "none", "mlflow.note.content": note})
    mlflow_ui.save_view(run_id, comparison.metric)
    tracking.log_files(run_id, [layout.REPORT, layout.COMPARISON, layout.TEST_PREDICTIONS, layout.QUALITY])
    table = layout.WORK / "data_quality.csv"  # which MLflow's UI shows as a table
    write_bytes(table, pd.DataFrame(rows(read_quality())).to_csv(index=False).encode())
    tracking.log_files(run_id, [table])
    tracking.log_files(run_id, figures, "figures")


def _log_result(result: StrategyResult, comparison: Comparison) -> None:
    run_id = result.mlflow_run_id
    tracking.log_metrics(run_id, final_metrics("test", result.test.model_dump()) | _verdict_of(result))
    if comparison.data.folds:
        tracking.log_metrics(run_id, final_metrics("cv", result.val.model_dump()))
    by_images = {point.images: point.val for point in result.by_share}
    if by_images:
        tracking.log_curves(run_id, "images", {**by_images, comparison.data.images["train"]: result.val.figures()})
    tracking.set_tags(
        run_id,
        {
            "mlflow.note.content": summary.of_strategy(result, comparison),
            mlflow_ui.COLOUR_TAG: mlflow_ui.colour_of(result.rank),
            "thawline.rank": str(result.rank),
            "thawline.champion": str(result.name == comparison.champion).lower(),
            "thawline.diagnosis": ", ".join(finding.tag for finding in result.findings) or "healthy",
        },
    )


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
