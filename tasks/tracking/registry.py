"""MLflow's registry: the champion, and the one before it."""

import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import RunStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import AnyType

from tasks.errors import UserError
from tasks.files import digest_of_tree
from tasks.tracking.store import client, model_name, shown_uri, stored

CHAMPION, PREVIOUS = "champion", "previous"
DIGEST_TAG = "thawline.digest"
SERVED = Path(__file__).with_name("served.py")
CODE = Path(__file__).parents[1]
REQUIREMENTS = (
    "filelock", "mlflow", "numpy", "pandas", "pandera", "pillow", "psutil", "pydantic", "rich", "ruamel.yaml",
    "safetensors", "scikit-learn", "scipy", "torch", "torchvision",
)  # fmt: skip


@stored
def register(run_id: str, folder: Path, more: Sequence[str] = ()) -> str:
    """Make the champion's folder the version with the alias ``champion``, and return that version's number.

    The version that was champion before becomes ``previous``. If it has the same content, nothing changes.

    Args:
        run_id: the run of its strategy.
        folder: what ``tasks.serving.champion`` wrote.
        more: packages that the champion needs besides the usual ones.
    """
    digest = digest_of_tree(folder, "*.*", keep=lambda path: path.suffix != ".md")  # a card names its comparison
    name, before = model_name(), _champion()
    if before is not None and before.tags.get(DIGEST_TAG) == digest:
        return str(before.version)
    ended = client().get_run(run_id).info.end_time
    try:
        with mlflow.start_run(run_id=run_id, log_system_metrics=False), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about an input example, which would be stored with every version
            logged = mlflow.pyfunc.log_model(
                name="champion",
                python_model=str(SERVED),
                artifacts={"champion": str(folder)},
                code_paths=[str(CODE)],
                signature=_signature(),
                pip_requirements=[f"{package}=={version(package)}" for package in (*REQUIREMENTS, *more)],
            )
    finally:  # logging a model opens the run again
        client().set_terminated(run_id, RunStatus.to_string(RunStatus.FINISHED), ended)
    made = mlflow.register_model(logged.model_uri, name, tags={DIGEST_TAG: digest})
    if before is not None:
        client().set_registered_model_alias(name, PREVIOUS, before.version)
    client().set_registered_model_alias(name, CHAMPION, made.version)
    return str(made.version)


def folder_of(uri: str) -> Path:
    """Return the folder of a registered or logged champion, brought here if it is elsewhere.

    Args:
        uri: such as ``models:/thawline@champion``.

    Raises:
        UserError: the registry doesn't know it.
    """
    client()
    try:
        found = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri))
    except MlflowException as error:
        raise UserError(
            f"{uri} is not in the registry of {shown_uri()}: run 'dvc repro', or name another model with --model"
        ) from error
    return found / "artifacts" / "champion"


def champion_uri() -> str:
    """Return the address of the champion in the registry."""
    return f"models:/{model_name()}@{CHAMPION}"


def _champion() -> ModelVersion | None:
    try:
        return client().get_model_version_by_alias(model_name(), CHAMPION)
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:  # no model, no such alias
            return None
        raise


def _signature() -> ModelSignature:
    answers: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, "label"),
        ColSpec(DataType.double, "probability"),
        ColSpec(DataType.boolean, "unlike"),
    ]
    image: Any = AnyType()  # type: ignore[no-untyped-call]
    return ModelSignature(Schema([ColSpec(image, "image")]), Schema(answers))
