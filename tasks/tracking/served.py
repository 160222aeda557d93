"""The registered champion as MLflow serves it; MLflow runs this file to make the model, no pickle is involved."""

import base64
import binascii
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from PIL import Image

from tasks.errors import UserError
from tasks.serving.champion import Champion
from tasks.serving.scores import score

FOLDER = "champion"
COLUMN = "image"


class ServedChampion(PythonModel):
    """Takes a table with a column ``image``, answers the table of ``tasks.serving.scores``.

    An image is the content of an image file, as bytes or as base64, or an array of shape (height, width) or (height,
    width, channels) with values from 0 to 255, of any size.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read the champion's folder."""
        self._champion = Champion.read(Path(context.artifacts[FOLDER]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Score every image."""
        if COLUMN not in model_input:
            raise UserError(f"the table has no column '{COLUMN}', but {', '.join(map(str, model_input.columns))}")
        with tempfile.TemporaryDirectory() as folder:
            names = [f"{place}" for place in range(len(model_input))]
            for name, image in zip(names, model_input[COLUMN], strict=True):
                _write(image, Path(folder, name))
            return score(self._champion, Path(folder), names).drop(columns="path")


def _write(image: Any, target: Path) -> None:
    if isinstance(image, bytes | bytearray):
        target.write_bytes(image)
    elif isinstance(image, str):
        try:
            target.write_bytes(base64.b64decode(image, validate=True))
        except binascii.Error as error:
            raise UserError("an image given as text must be the base64 of an image file") from error
    else:
        values = np.asarray(image)
        if values.ndim not in {2, 3} or values.size == 0 or values.min() < 0 or values.max() > 255:
            raise UserError(
                "an image given as an array has the shape (height, width) or (height, width, channels) and values from "
                f"0 to 255, not {values.shape}"
            )
        pixels = values.astype(np.uint8)
        Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).save(target, format="PNG")


set_model(ServedChampion())
