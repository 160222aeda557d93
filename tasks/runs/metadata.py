"""What MLflow is told of a run: params, tags, data and metrics under the same names everywhere."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from tasks import layout, tracking, versioning
from tasks.comparison.schema import MadeWith
from tasks.environment import DATA_REV, EXPERIMENT, NODE
from tasks.files import digest_of
from tasks.params import Params, StrategyParams
from tasks.runs.code import EVERYTHING, digest_of_code
from tasks.runs.prepared import PreparedData
from tasks.runs.repeats import Repeat

LONGEST_NAME = 180
# Packages that results depend on, by the name that they are imported by where it is another one.
PACKAGES = {
    **{name: name for name in ("torch", "torchvision", "timm", "peft", "numpy", "scipy")},
    **{"scikit-learn": "sklearn", "pillow": "PIL", "captum": "captum", "pandas": "pandas", "pandera": "pandera"},
    **{name: name for name in ("dvc", "mlflow", "prefect")},
}


def shared_params(params: Params, data: PreparedData) -> dict[str, Any]:
    """Return the params that every run of a comparison shares."""
    return {
        "data.source": params.data.source,
        "data.path": params.data.path,
        "data.size": data.size,
        "data.channels": data.channels,
        "backbone.name": data.record.name,
        "backbone.weights": data.record.weights,
        **_made_to_fit(data),
        **{f"split.{key}": value for key, value in params.split.model_dump().items()},
        **{f"augment.{key}": value for key, value in params.augment.model_dump().items()},
    }


def _made_to_fit(data: PreparedData) -> dict[str, str]:
    notes = data.record.report.get("notes", [])
    return {"backbone.made_to_fit": "; ".join(notes)} if notes else {}


def flat_params(
    settings: StrategyParams, params: Params, data: PreparedData, repeat: Repeat, run: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the params of a fine-tuning, one level deep; the values of several phases are joined by ``>``.

    Args:
        settings: of the strategy.
        params, data, repeat: as its fine-tuning has them.
        run: what it records of itself: its ``strategy``, the ``precision`` that it trains in, which params may leave to
            the machine, and the ``engine`` that answers for what doesn't train.
    """
    phases = settings.schedule()
    plain = settings.model_dump(exclude={"head", "stem", "adapters", "train", "milestones", "phases", "epochs", "lr"})
    described = {
        "train": " > ".join("+".join(phase.train) for phase in phases),
        "lr": " > ".join(str(phase.lr) for phase in phases),
        "epochs": sum(phase.epochs or 0 for phase in phases),
        "phases": len(phases),
        "engine": run["engine"],
        "precision": run["precision"],
    }
    sections = settings.model_dump(include={"head", "stem", "adapters"})
    nested = {f"{name}.{key}": value for name, section in sections.items() for key, value in (section or {}).items()}
    plain = {key: value for key, value in plain.items() if value is not None}
    repeated: dict[str, Any] = {"train.share": repeat.share}
    if data.folds:
        repeated |= {"split.folds": data.folds, "split.fold": repeat.fold}
    candidate = {"strategy": run["strategy"].rpartition("/")[2], "network": params.network_title(data.network)}
    return {**plain, **candidate, **described, **nested, **shared_params(params, data), **repeated}


def tags(stage: str, identity: str, params: Params, data: PreparedData) -> dict[str, str]:
    """Return what identifies a run.

    Args:
        stage: a candidate, or the stage itself where there is no identity.
        identity: digest of everything that a strategy's result depends on, or empty.
        params: as they are now.
        data: the prepared images.
    """
    values = {
        "thawline.stage": layout.stage_of(stage) if identity else os.environ.get("DVC_STAGE", stage),
        "thawline.params_digest": params_digest(params)[:16],
        "thawline.weights_sha256": data.record.sha256,
        "thawline.data_digest": versioning.data_digest(params.data),
        "thawline.data_rev": os.environ.get(DATA_REV) or params.data.rev,
        "thawline.identity": identity,
        "thawline.strategy": stage.rpartition("/")[2] if identity else "",
        "thawline.network": params.network_title(data.network) if identity else "",
        "thawline.node": os.environ.get(NODE, ""),
        "thawline.experiment": os.environ.get(EXPERIMENT, ""),
        "mlflow.source.git.commit": versioning.git_revision(),
    }
    return {key: value for key, value in values.items() if value}


def params_digest(params: Params) -> str:
    """Return a digest of all params that a result can depend on."""
    return digest_of(params.model_dump(mode="json", exclude={"run"}))


def made_with(params: Params) -> MadeWith:
    """Return what a comparison is made with."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return MadeWith(
        commit=versioning.git_revision(),
        code_sha256=digest_of_code(EVERYTHING),
        params_digest=params_digest(params),
        params=layout.PARAMS.read_text(encoding="utf-8"),
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}, CPU threads: {torch.get_num_threads()}{gpu}",
        packages={name: version(name) for name, module in PACKAGES.items() if find_spec(module)},
    )


def data_identity(params: Params) -> tracking.DataIdentity:
    """Return the images of a run, with the digest that DVC recorded of them."""
    digest = versioning.data_digest(params.data)
    return tracking.DataIdentity(Path(params.data.path).name, params.data.path, digest)


def final_metrics(split: str, scores: dict[str, Any]) -> dict[str, float | None]:
    """Return final metrics under MLflow's names: ``val/auroc``, and ``val_GROUP/auroc`` for a group of images."""
    flat: dict[str, float | None] = {
        f"{split}/{key}": value for key, value in scores.items() if isinstance(value, float)
    }
    for group, of_group in scores["groups"].items():
        flat |= {f"{split}_{_safe(group)}/{key}": value for key, value in of_group.items() if isinstance(value, float)}
    return flat


def _safe(name: str) -> str:
    """Return a group's name in the characters, and of a length, that MLflow takes in metric names."""
    safe = "".join(c if c.isalnum() or c in "_-. " else "_" for c in name)
    return safe if safe == name and len(name) <= LONGEST_NAME else f"{safe[:LONGEST_NAME]}-{digest_of(name)[:8]}"
