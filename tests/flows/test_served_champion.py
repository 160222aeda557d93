"""The champion served over HTTP, by MLflow's own server."""

import base64
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.support.golden import light
from tests.support.ports import free_port
from tests.support.results import must, read_comparison
from tests.support.running import process
from tests.support.servers import shared_prefect
from tests.support.waiting import wait_for

pytestmark = pytest.mark.system

BOUNDED = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}


def test_the_champion_answers_over_http(cells: Path, tmp_path: Path) -> None:
    """``mlflow models serve`` takes an image file, and an array of another size, and answers as ``flows.predict``."""
    project, port = light(), free_port()
    file = sorted((cells / "broken").iterdir())[0]
    grey = np.asarray(Image.open(file))
    bad = [base64.b64encode(b"no image").decode(), "näh", [[1, 2], [3]], [[300]], None]
    good = [f"data:image/png;base64,{base64.encodebytes(file.read_bytes()).decode()}", grey[::2, ::3].tolist()]
    rows = [{"image": image} for image in (*good, *bad)]
    command = ("mlflow", "models", "serve", "-m", "models:/thawline@champion", "--env-manager", "local")
    store = f"sqlite:///{project.root / 'mlflow.db'}"
    options = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    with process(project, *command, *options, MLFLOW_TRACKING_URI=store, **BOUNDED):
        address = f"http://127.0.0.1:{port}/invocations"
        answers = wait_for(lambda: asked(address, {"dataframe_records": rows}), 100)
    scores = tmp_path / "scores.parquet"
    must(
        project.here(
            "flows.predict", str(cells / "broken"), "--output", str(scores), PREFECT_API_URL=shared_prefect(), **BOUNDED
        )
    )
    expected = pd.read_parquet(scores).set_index("path").loc[file.name]
    first = answers["predictions"][0]
    assert first["label"] == expected["label"]
    assert first["probability"] == pytest.approx(expected["probability"], abs=1e-6)
    assert answers["predictions"][1]["label"] in read_comparison(project).data.classes
    assert answers["predictions"][1]["problem"] == ""
    refused = answers["predictions"][2:]
    assert all(row["label"] is None and row["probability"] is None for row in refused)
    words = ("unreadable", "base64", "array", "array", "array")
    assert all(word in row["problem"] for word, row in zip(words, refused, strict=True))


def asked(address: str, content: dict[str, Any]) -> Any:
    """Return a server's answer."""
    request = urllib.request.Request(address, json.dumps(content).encode(), {"Content-Type": "application/json"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer, parse_constant=pytest.fail)  # NaN is no JSON
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()) from error
