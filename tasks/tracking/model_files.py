"""A model of MLflow's format that is written from code and files; no pickle is involved.

Written here, as MLflow's own ``save_model`` takes seconds to read what every installed package consists of. See
https://mlflow.org/docs/latest/ml/model/#storage-format.
"""

import platform
import shutil
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mlflow import pyfunc
from mlflow.models import Model, ModelSignature
from ruamel.yaml import YAML

LOADER = "mlflow.pyfunc.loaders.code_model"
DESCRIPTION, REQUIREMENTS = "MLmodel", "requirements.txt"
CONDA, VIRTUALENV = "conda.yaml", "python_env.yaml"
PACKAGES = (
    "filelock", "mlflow", "numpy", "pandas", "pandera", "pillow", "psutil", "pydantic", "rich", "ruamel.yaml",
    "safetensors", "scikit-learn", "scipy", "torch", "torchvision",
)  # fmt: skip


def pinned(packages: Iterable[str]) -> list[str]:
    """Return requirements of packages in the versions that are installed."""
    return [f"{package}=={version(package)}" for package in packages]


def write(
    folder: Path,
    source: Path,
    artifacts: Mapping[str, Path],
    signature: ModelSignature,
    requirements: Sequence[str],
    metadata: Mapping[str, Any],
    *,
    run_id: str,
    model_id: str,
) -> None:
    """Write a model into a folder that is there.

    Args:
        folder: where.
        source: of Python, which calls ``mlflow.models.set_model``.
        artifacts: files that its ``load_context`` finds by these names.
        signature: what it takes and answers.
        requirements: pinned packages.
        metadata: what else is kept with it.
        run_id, model_id: in MLflow.
    """
    (folder / "artifacts").mkdir()
    for file in artifacts.values():
        shutil.copyfile(file, folder / "artifacts" / file.name)
    shutil.copyfile(source, folder / source.name)
    model = Model(signature=signature, metadata=dict(metadata), run_id=run_id, model_id=model_id)
    places = {name: f"artifacts/{file.name}" for name, file in artifacts.items()}
    pyfunc.add_to_model(
        model,
        LOADER,
        conda_env=CONDA,
        python_env=VIRTUALENV,
        model_code_path=source.name,
        artifacts={name: {"path": place, "uri": place} for name, place in places.items()},
    )
    model.save(str(folder / DESCRIPTION))
    _write_environment(folder, requirements)


def _write_environment(folder: Path, requirements: Sequence[str]) -> None:
    (folder / REQUIREMENTS).write_text("\n".join(requirements), encoding="utf-8")
    python = platform.python_version()
    build = [*pinned(["pip"]), "setuptools", "wheel"]
    virtualenv = {"python": python, "build_dependencies": build, "dependencies": [f"-r {REQUIREMENTS}"]}
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", *build[:1], {"pip": list(requirements)}],
    }
    for name, content in ((VIRTUALENV, virtualenv), (CONDA, conda)):
        YAML(typ="safe").dump(content, folder / name)
