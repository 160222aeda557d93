"""A strategy's network as MLflow serves it; MLflow runs this file to make the model, no pickle is involved.

It comes with the code that builds the network, which is imported where this project isn't.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

if TYPE_CHECKING:
    from tasks.evaluation.classifier import ImageClassifier


class ServedClassifier(PythonModel):
    """Takes uint8 images of shape (images, channels, height, width), of any size, and answers probabilities."""

    def load_context(self, context: PythonModelContext) -> None:
        """Build the network and read its weights."""
        self._classifier = _read(**context.artifacts)

    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return probabilities, float32 of shape (images, classes)."""
        import torch

        with torch.inference_mode():
            answer = self._classifier(torch.from_numpy(np.array(model_input)))
        probabilities: np.ndarray[Any, np.dtype[np.float32]] = answer.numpy()
        return probabilities


def _read(description: str, weights: str, code: str) -> "ImageClassifier":
    """Read the classifier by the code that is imported already, or else by the one that came with it."""
    is_elsewhere = "tasks" not in sys.modules
    if is_elsewhere:
        sys.path.insert(0, code)
    try:
        from tasks.serving.classifier_files import read

        return read(Path(description), Path(weights))
    finally:
        if is_elsewhere:
            sys.path.remove(code)


set_model(ServedClassifier())
