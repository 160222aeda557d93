"""The figures that docs/about/benchmarks.md shows, as docs/about/measured.json keeps them."""

import json
from pathlib import Path
from typing import Any

Figures = dict[str, Any]
MEASURED = Path(__file__).parents[1] / "about" / "measured.json"
METRICS = {"validation AUROC": ("val", "auroc"), "test AUROC": ("test", "auroc"), "test accuracy": ("test", "accuracy")}


def read() -> Figures:
    """Return all of them."""
    return taken_from(MEASURED)


def write(figures: Figures) -> None:
    """Keep all of them."""
    MEASURED.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def taken_from(file: Path) -> Figures:
    """Return the content of a JSON file."""
    content: Figures = json.loads(file.read_text(encoding="utf-8"))
    return content


def renewed(project: Path, machine: str) -> Figures:
    """Return the table of the main job from what ``dvc repro`` left in a project, best first."""
    comparison = taken_from(project / "data/reports/comparison.json")
    return {
        "machine": machine,
        "source": "dvc repro",
        "champion": comparison["champion"],
        "strategies": [
            {
                "name": name,
                "tied": found["tied"] and name != comparison["champion"],
                **{heading: _with_interval(found[split], metric) for heading, (split, metric) in METRICS.items()},
                "stopped": found.get("stopped"),
                "training seconds": found["train_seconds"],
                "peak MiB": found["peak_memory_mib"],
                "trainable parameters": found["trainable_parameters"],
            }
            for name, found in comparison["strategies"].items()
        ],
    }


def _with_interval(scores: Figures | None, metric: str) -> list[float] | None:
    """Return a metric and its interval; null where the split was not answered."""
    return scores and [scores[metric], *(scores["intervals"][metric] or ())]
