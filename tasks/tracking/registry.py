"""MLflow's registry: the champion, and the one before it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import AnyType

from tasks.data import heif
from tasks.errors import UserError
from tasks.files import digest_of_tree
from tasks.tracking.model_files import PACKAGES, pinned
from tasks.tracking.model_logging import log_to_run
from tasks.tracking.store import NOT_THERE, client, model_name, shown_uri, stored

CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"
DIGEST_TAG = "thawline.digest"
DECISION_TAG = "thawline.decision"
LONGEST_TEXT = 5000  # that MLflow takes
SERVED = Path(__file__).with_name("served.py")
CODE = Path(__file__).parents[1]


@stored
def register(run_id: str, folder: Path, more: Sequence[str] = (), alias: str = CHAMPION) -> str:
    """Make the champion's folder the version with an alias, and return that version's number.

    With the alias ``champion``, the version that was champion before becomes ``previous``. If the champion has the same
    content, no version is made.

    Args:
        run_id: the run of its strategy.
        folder: what ``tasks.serving.champion`` wrote.
        more: packages that the champion needs besides the usual ones.
        alias: ``champion``, or ``challenger`` for one that is yet to be held against the champion.
    """
    digest = digest_of_tree(folder, "*.*", keep=lambda path: path.suffix != ".md")  # a card names its comparison
    name, before = model_name(), _version_with(CHAMPION)
    for same in (before, _version_with(alias)):
        if same is not None and same.tags.get(DIGEST_TAG) == digest:
            client().set_registered_model_alias(name, alias, same.version)
            return str(same.version)
    uri = log_to_run(
        run_id,
        CHAMPION,
        mlflow.pyfunc,
        python_model=str(SERVED),
        artifacts={"champion": str(folder)},
        code_paths=[str(CODE)],
        signature=_signature(),
        pip_requirements=pinned((*PACKAGES, *more, *_installed())),
    )
    made = mlflow.register_model(uri, name, tags={DIGEST_TAG: digest})
    if alias == CHAMPION:
        _set_champion(str(made.version), before)
    else:
        client().set_registered_model_alias(name, alias, made.version)
    return str(made.version)


def _installed() -> list[str]:
    """Return the packages that the champion reads more kinds of images with, where its images were read with them."""
    return [heif.PACKAGE] if heif.is_readable() else []


@stored
def version_of(alias: str) -> str:
    """Return the version that has an alias; empty if none has."""
    registered = _version_with(alias)
    return "" if registered is None else str(registered.version)


@stored
def promote(version: str) -> None:
    """Make a version the champion, and the champion the previous one; it is no challenger any more."""
    before = _version_with(CHAMPION)
    if before is not None and str(before.version) == version:
        return
    _set_champion(version, before)
    if version_of(CHALLENGER) == version:
        client().delete_registered_model_alias(model_name(), CHALLENGER)


@stored
def roll_back() -> tuple[str, str]:
    """Swap ``champion`` and ``previous``; return the versions of the champion now and before.

    Raises:
        UserError: there is no champion, or none before it.
    """
    now, before = version_of(CHAMPION), version_of(PREVIOUS)
    if not now:
        raise UserError(f"the registry of {shown_uri()} has no champion of {model_name()}: run 'dvc repro'")
    if before in {"", now}:
        raise UserError(f"there is no champion before version {now} of {model_name()} to go back to")
    promote(before)
    return before, now


@stored
def decide(version: str, decision: str, reason: str) -> None:
    """Keep with a version what was decided of it, and why."""
    client().update_model_version(model_name(), version, description=f"{decision}: {reason}"[:LONGEST_TEXT])
    client().set_model_version_tag(model_name(), version, DECISION_TAG, decision)
    client().set_model_version_tag(model_name(), version, "thawline.reason", reason[:LONGEST_TEXT])


@stored
def folder_of(uri: str) -> Path:
    """Return the folder of a registered or logged champion, brought here if it is elsewhere.

    Args:
        uri: such as ``models:/thawline@champion``.

    Raises:
        UserError: the registry doesn't know it.
    """
    client()
    try:
        downloaded = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri))
    except MlflowException as error:
        if error.error_code not in NOT_THERE:
            raise
        raise UserError(
            f"{uri} is not in the registry of {shown_uri()}: run 'dvc repro', or name another model with --model"
        ) from error
    return downloaded / "artifacts" / "champion"


def champion_uri() -> str:
    """Return the address of the champion in the registry."""
    return f"models:/{model_name()}@{CHAMPION}"


def version_uri(version: str) -> str:
    """Return the address of a version in the registry."""
    return f"models:/{model_name()}/{version}"


def _set_champion(version: str, before: ModelVersion | None) -> None:
    if before is not None:
        client().set_registered_model_alias(model_name(), PREVIOUS, before.version)
    client().set_registered_model_alias(model_name(), CHAMPION, version)


def _version_with(alias: str) -> ModelVersion | None:
    try:
        return client().get_model_version_by_alias(model_name(), alias)
    except MlflowException as error:
        if error.error_code in NOT_THERE:
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
