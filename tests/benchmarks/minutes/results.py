"""What a finished project found, read from the files that programs read."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image
from ruamel.yaml import YAML

from tasks import layout
from tests.benchmarks.minutes.machine import Watched


def found_by(project: Path, work: Watched) -> dict[str, Any]:
    """Return what the whole of ``dvc repro`` took and found.

    Seconds, peak memory in MiB, the longest silence; seconds and silence of each stage; seconds of training of each
    strategy, and what race and fine-tunings take beside it, a strategy; the champion, its test metrics, who ties with
    it, who was stopped.
    """
    runs = project / "data/runs"
    metrics = {file.parent.relative_to(runs).as_posix(): _read(file) for file in sorted(runs.rglob("metrics.json"))}
    metrics = {name: found for name, found in metrics.items() if found}  # candidates that are left out have none
    comparison = _read(project / "data/reports/comparison.json")
    stages, strategies = work.stages(), comparison["strategies"]
    training = {name: found["train_seconds"] for name, found in metrics.items()}
    training_stages = [stages[name] for name in ("race", *map(layout.stage_of, training)) if name in stages]
    spent = sum(stage["seconds"] for stage in training_stages)
    champion = strategies.get(comparison["champion"], {})
    return {
        "seconds": work.seconds,
        "peak_mib": work.peak_mib,
        "silence": work.longest_silence(),
        "training": sum(training.values()),
        "outside_training": (spent - sum(training.values())) / len(training),
        "champion": comparison["champion"],
        "test": _chosen(champion.get("test")),
        "validation": _chosen(champion.get("val")),
        "tied": sorted(name for name, found in strategies.items() if found["tied"]),
        "stopped": sorted(name for name, found in strategies.items() if found.get("stopped")),
        "images": comparison["data"]["images"],
        "stages": {name.replace("finetune@", ""): found for name, found in stages.items()},
        "train_seconds": training,
        "strategies": {
            name: {"validation": _chosen(found["val"]), "test": _chosen(found["test"])}
            for name, found in strategies.items()
        },
    }


def _chosen(scores: dict[str, Any] | None) -> dict[str, float] | None:
    """Return the metrics that are reported, or null where there are none."""
    return scores and {name: scores[name] for name in ("auroc", "accuracy", "balanced_accuracy")}


def write_split(project: Path, target: Path, side: int | None = None) -> None:
    """Write a project's images to ``target/SPLIT/CLASS``, as others read them.

    Args:
        project: whose images are prepared.
        target: folder that must not be there yet.
        side: height and width in pixels that they are stretched to; None: the files as they are.
    """
    folder = Path(YAML(typ="safe").load(project / "params.yaml")["data"]["path"])
    table, unfinished = pd.read_parquet(project / "data/manifest.parquet"), target.with_name(f"{target.name}.part")
    for path, split, label, row in zip(*(table[key] for key in ("path", "split", "label", "row")), strict=True):
        file = unfinished / split / label / f"{row:05}{Path(path).suffix if side is None else '.png'}"
        file.parent.mkdir(parents=True, exist_ok=True)
        source = project / folder / path
        if side is None:
            file.write_bytes(source.read_bytes())
        else:
            Image.open(source).convert("RGB").resize((side, side)).save(file)
    unfinished.rename(target)


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
