"""How MLflow's UI shows a comparison: colours, a saved view with columns and charts, and links to it.

MLflow (from 3.15) keeps a view that somebody saves in its menu *Views* as a tag of the experiment.
"""

import base64
import json
import time
import zlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from tasks.tracking.store import FOR_TRAINING, client, experiment_id, stored

KEY = "thawline"
TAG = f"mlflow.sharedViewState.{KEY}"
NAME = "strategies of the last comparison"
COLOUR_TAG = "mlflow.runColor"
COLOURS = (
    "#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e", "#9498a0",
)  # fmt: skip
COSTS = ("cost/train_seconds", "cost/peak_memory_mib", "cost/trainable_share")
TAGS = ("thawline.rank", "thawline.champion", "thawline.diagnosis")
PARAMS = ("network", "strategy", "train", "lr")
WIDE = 150  # pixels


def colour_of(rank: int) -> str:
    """Return the colour of a strategy in MLflow's charts, given its rank from 1 on."""
    return COLOURS[(rank - 1) % len(COLOURS)]


@stored
def save_view(parent: str, metric: str) -> None:
    """Save the view of a comparison's strategies under ``NAME``, in place of the one before.

    Args:
        parent: the comparison's run.
        metric: that chose the champion.
    """
    now = int(time.time() * 1000)
    state = base64.b64encode(zlib.compress(json.dumps(_state(parent, metric)).encode())).decode()
    view = {"name": NAME, "createdAt": now, "updatedAt": now, "state": f"deflate;{state}"}
    client().set_experiment_tag(experiment_id(), TAG, json.dumps(view))


def links(parent: str, children: Sequence[str]) -> dict[str, str]:
    """Return addresses within MLflow's UI that show a comparison: words and address of each."""
    runs = f"#/experiments/{experiment_id()}/runs"
    side_by_side = f"runs={quote(json.dumps(children))}&experiments={quote(json.dumps([experiment_id()]))}"
    view = f"{runs}?viewStateShareKey={KEY}&{FOR_TRAINING}"
    return {
        "report": f"{runs}/{parent}/artifacts/comparison.html?{FOR_TRAINING}",
        "charts": f"{view}&compareRunsMode=CHART",
        "table": view,
        "side by side": f"#/compare-runs?{side_by_side}",
    }


def _state(parent: str, metric: str) -> dict[str, Any]:
    """Return the view as the UI reads it: what is not here is as usual."""
    score = f"val/{metric}"
    scores = list(dict.fromkeys([score, f"test/{metric}", "test/accuracy"]))
    metrics = [f"metrics.`{key}`" for key in (*scores, *COSTS)]
    others = [f"tags.`{key}`" for key in TAGS] + [f"params.`{key}`" for key in PARAMS]
    charts: dict[str, list[dict[str, Any]]] = {
        "what it costs": [
            {"type": "PARALLEL", "selectedParams": [], "selectedMetrics": [COSTS[2], COSTS[0], score],
             "showAllRuns": True},
            {"type": "SCATTER", "xaxis": _axis(COSTS[0]), "yaxis": _axis(score)},
        ],
        "learning curves": [_line(f"epoch/{key}") for key in ("val_loss", "train_loss", "val_accuracy")],
        "scores": [{"type": "BAR", "metricKey": key} for key in scores],
    }  # fmt: skip
    return {
        "searchFilter": f"tags.`mlflow.parentRunId` = '{parent}'",
        "orderByKey": f"metrics.`{score}`",
        "orderByAsc": False,
        "selectedColumns": metrics + others,
        "columnOrder": ["attributes.`Run Name`", *metrics, *others, "duration", "runDateAndNestInfo"],
        "columnWidths": dict.fromkeys(metrics[len(scores) :] + others[: len(TAGS)], WIDE),
        "isAccordionReordered": True,
        "compareRunSections": [_part(name) | {"name": name, "display": True, "isReordered": True} for name in charts],
        "compareRunCharts": [
            _part(f"{section} {place}") | {"metricSectionId": section, "runsCountToCompare": 100} | chart
            for section, of_section in charts.items()
            for place, chart in enumerate(of_section)
        ],
    }


def _part(name: str) -> dict[str, Any]:
    return {"uuid": name, "deleted": False, "isGenerated": False}


def _axis(metric: str) -> dict[str, str]:
    return {"key": metric, "type": "METRIC"}


def _line(metric: str) -> dict[str, Any]:
    plain = {"lineSmoothness": 0, "useGlobalLineSmoothing": False, "xAxisKey": "step", "useGlobalXaxisKey": True}
    scales = {"scaleType": "linear", "xAxisScaleType": "linear", "range": {}}
    return {"type": "LINE", "metricKey": metric, "selectedMetricKeys": [metric], **plain, **scales}
