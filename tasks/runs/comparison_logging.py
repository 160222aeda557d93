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
    leader = comparison.leader
    held_out = {"val": leader.val.model_dump(), "test": leader.tested.model_dump()}
    tracking.log_metrics(run_id, final_metrics("val", held_out["val"]) | final_metrics("test", held_out["test"]))
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
    tested = final_metrics("test", result.test.model_dump()) if result.test else {}
    by_folds = final_metrics("cv", result.val.model_dump()) if comparison.data.folds and result.test else {}
    tracking.log_metrics(run_id, tested | by_folds | _verdict_of(result))
    by_images = {point.images: point.val for point in result.by_share}
    if by_images and not result.lost_race:
        tracking.log_curves(run_id, "images", {**by_images, comparison.data.images["train"]: result.val.figures()})
    tracking.set_tags(
        run_id,
        {
            "mlflow.note.content": summary.of_strategy(result, comparison),
            mlflow_ui.COLOUR_TAG: mlflow_ui.colour_of(result.rank),
            "thawline.rank": str(result.rank),
            "thawline.champion": str(result.name == comparison.champion).lower(),
            "thawline.diagnosis": ", ".join(finding.tag for finding in result.findings) or _health_of(result),
        },
    )


def _health_of(result: StrategyResult) -> str:
    return "stopped by the race" if result.lost_race else "healthy"


def _verdict_of(result: StrategyResult) -> dict[str, float | None]:
    """Return what a comparison adds to a strategy's metrics in MLflow; what was not measured is None."""
    versus, serving, calibration = result.versus_best, result.serving, result.calibration
    return {
        "verdict/difference_to_best": versus.difference if versus else None,
        "verdict/p_adjusted": versus.p_adjusted if versus else None,
        "verdict/at_least_behind": result.stopped.at_least if result.stopped else None,
        "verdict/epochs_to_scratch": result.epochs_to_scratch,
        "cost/latency_ms": serving.milliseconds if serving else None,
        "cost/images_a_second": serving.images_a_second if serving else None,
        "cost/model_mb": serving.model_bytes / 1e6 if serving else None,
        "calibration/temperature": calibration.temperature if calibration else None,
        "calibration/test_ece": calibration.test_ece if calibration else None,
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
