"""The registered champion as MLflow serves it; MLflow runs this file to make the model, no pickle is involved."""

import tempfile
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from PIL import Image

from tasks.serving.champion import Champion
from tasks.serving.encoded import decoded
from tasks.serving.scores import score

FOLDER = "champion"
COLUMN = "image"
NOT_BASE64 = "an image given as text must be the base64 of an image file"
NO_ARRAY = (
    "an image given as an array has the shape (height, width) or (height, width, 1 to 4) and values from 0 to 255"
)


class ServedChampion(PythonModel):
    """Takes a table with a column ``image``, answers the table of ``tasks.serving.scores``.

    An image is the content of an image file, as bytes or as any usual base64 (see ``tasks.serving.encoded``), or an
    array of shape (height, width) or (height, width, channels) with values from 0 to 255, of any size.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read the champion's folder."""
        self._champion = Champion.read(Path(context.artifacts[FOLDER]))
        # A server asks from several threads, and answering changes the network for a while.
        self._one_at_a_time = Lock()

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Score every image; one that can't be read has its problem in its row, and nothing else."""
        if COLUMN not in model_input:
            names = ", ".join(map(str, model_input.columns))
            raise MlflowException.invalid_parameter_value(f"the table has no column '{COLUMN}', but {names}")
        with tempfile.TemporaryDirectory() as folder, self._one_at_a_time:
            places = [f"{place}" for place in range(len(model_input))]
            problems = [
                _write(image, Path(folder, place)) for place, image in zip(places, model_input[COLUMN], strict=True)
            ]
            table = score(self._champion, Path(folder), places).drop(columns="path")
        table["problem"] = [unwritable or unread for unwritable, unread in zip(problems, table["problem"], strict=True)]
        answers = table.astype(object)
        return answers.where(answers.notna(), None)  # JSON has no NaN


def _write(image: Any, target: Path) -> str:
    """Write an image as a file, and return what is wrong with it, if it is; then there is no file."""
    try:
        if isinstance(image, bytes | bytearray | memoryview):
            target.write_bytes(image)
        elif isinstance(image, str):
            target.write_bytes(decoded(image))
        else:
            _write_array(image, target)
    except (ValueError, TypeError) as error:
        return f"{NOT_BASE64}: this {error}" if isinstance(image, str) else NO_ARRAY
    return ""


def _write_array(image: Any, target: Path) -> None:
    values = np.asarray(image, dtype=np.float64)
    is_picture = values.ndim == 2 or (values.ndim == 3 and values.shape[2] in {1, 2, 3, 4})
    if not is_picture or values.size == 0 or not (values >= 0).all() or not (values <= 255).all():
        raise ValueError(NO_ARRAY)
    pixels = values.astype(np.uint8)
    Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).save(target, format="PNG")


set_model(ServedChampion())
