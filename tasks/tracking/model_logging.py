"""The models of a run in MLflow: every strategy's as files, the champion's as an exported program, too."""

import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
from mlflow.entities import LoggedModel, LoggedModelOutput, Metric, Run
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from tasks.tracking import model_files
from tasks.tracking.model_files import PACKAGES, pinned
from tasks.tracking.store import client, stored

if TYPE_CHECKING:  # whoever logs a program has imported it
    from torch import nn

MODEL, PROGRAM = "model", "program"
SERVED = Path(__file__).with_name("served_classifier.py")


@stored
def log_model(
    run_id: str, files: Mapping[str, Path], channels: int, classes: Sequence[str], more: Sequence[str] = ()
) -> None:
    """Log a classifier as its files, which ``served_classifier`` reads: ``runs:/RUN_ID/model``.

    It takes uint8 images of shape (batch, channels, height, width), of any height and width, and answers probabilities
    of shape (batch, classes).

    Args:
        run_id: the run it belongs to.
        files: its ``description``, ``weights`` and ``code``.
        channels: of the images.
        classes: their names in the order of the answer.
        more: packages that its network needs besides the usual ones.
    """
    store, run, model = _model_of(run_id, MODEL)
    signature, metadata = _signature(channels, len(classes)), {"classes": list(classes)}
    requirements = pinned((*PACKAGES, *more))
    with tempfile.TemporaryDirectory() as folder:
        model_files.write(
            Path(folder), SERVED, files, signature, requirements, metadata, run_id=run_id, model_id=model.model_id
        )
        store.log_model_artifacts(model.model_id, folder)
    store.finalize_logged_model(model.model_id, "READY")
    store.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    store.log_batch(run_id, metrics=_final_metrics(run, model.model_id))


@stored
def log_program(run_id: str, model: "nn.Module", example: np.ndarray[Any, Any], classes: Sequence[str]) -> None:
    """Log a classifier as an exported program, which needs no code of this project: ``runs:/RUN_ID/program``.

    Args:
        run_id: the run it belongs to.
        model: takes and answers what ``log_model`` says.
        example: a batch of at least two images.
        classes: their names in the order of the answer.
    """
    log_to_run(
        run_id,
        PROGRAM,
        mlflow.pytorch,
        pytorch_model=model,
        signature=_signature(example.shape[1], len(classes)),
        input_example=example,
        pip_requirements=pinned(("torch", "torchvision")),
        metadata={"classes": list(classes)},
        validate_serving_input=False,  # loads the program again, which a test does
    )


@stored
def has_program(run_id: str) -> bool:
    """Return whether a run has an exported program."""
    outputs = client().get_run(run_id).outputs
    models = outputs.model_outputs if outputs else []
    return any(client().get_logged_model(model.model_id).name == PROGRAM for model in models)


def log_to_run(run_id: str, name: str, flavour: ModuleType, **options: Any) -> str:
    """Log a model to a run, which may have ended and stays as it is; return the model's ``models:/`` address.

    Args:
        run_id: the run.
        name: of the model.
        flavour: of MLflow, which writes it.
        options: of the flavour's ``save_model``.
    """
    model = _model_of(run_id, name)[2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an example that is not given; torch.export speaks of its own internals
        logged = Model.log(None, flavour, run_id=run_id, model_id=model.model_id, **options)
    return str(logged.model_uri)


def _model_of(run_id: str, name: str) -> tuple[mlflow.MlflowClient, Run, LoggedModel]:
    """Return the store, a run, and a new model of it, which has no files yet."""
    store = client()
    run = store.get_run(run_id)
    return store, run, store.create_logged_model(run.info.experiment_id, name, run_id, params=run.data.params)


def _final_metrics(run: Run, model_id: str) -> list[Metric]:
    """Return a run's metrics that are no curves, as those of a model, which MLflow sorts models by."""
    now = int(time.time() * 1000)
    final = {key: value for key, value in run.data.metrics.items() if not key.startswith("epoch/")}
    return [Metric(key, value, now, 0, model_id=model_id, run_id=run.info.run_id) for key, value in final.items()]


def _signature(channels: int, classes: int) -> ModelSignature:
    images = TensorSpec(np.dtype(np.uint8), (-1, channels, -1, -1))
    return ModelSignature(Schema([images]), Schema([TensorSpec(np.dtype(np.float32), (-1, classes))]))
