"""The champion exported for other runtimes."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.support.golden import light
from tests.support.project import Project
from tests.support.results import must
from tests.support.servers import shared_prefect

pytestmark = pytest.mark.slow

BOUNDED = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}


def run(project: Project, flow: str, *arguments: str) -> str:
    """Run a flow in this process, which must succeed; return what it printed."""
    return must(project.here(f"flows.{flow}", *arguments, PREFECT_API_URL=shared_prefect(), **BOUNDED))


def test_the_champion_is_exported(tmp_path: Path, cells: Path) -> None:
    """Files that answer as ``flows.predict``, with their figures on stdout."""
    onnxruntime = pytest.importorskip("onnxruntime")
    project, target = light(), tmp_path / "exported"
    assert "model.onnx" in run(project, "export", "--output", str(target))
    facts = json.loads((target / "export.json").read_text())
    assert {path.name for path in target.iterdir()} == {"export.json", "model.onnx", "model.pt2"}
    side = facts["input"]["shape"][-1]
    file = sorted((cells / "broken").iterdir())[0]
    image = np.asarray(Image.open(file).convert("L").resize((side, side), Image.Resampling.BILINEAR))
    session = onnxruntime.InferenceSession(target / "model.onnx")
    answer = session.run(None, {"images": image[None, None]})[0][0]
    run(project, "predict", str(cells / "broken"), "--output", str(tmp_path / "scores.parquet"))
    expected = pd.read_parquet(tmp_path / "scores.parquet").set_index("path").loc[file.name]
    probabilities = expected[[f"p[{label}]" for label in facts["classes"]]].to_numpy(float)
    np.testing.assert_allclose(answer, probabilities, atol=0.02)  # scored in this machine's precision
