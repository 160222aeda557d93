"""What a stage does not wait for: packages that it has no use for."""

import sys
from pathlib import Path

from tests.support.golden import light
from tests.support.results import must

UNUSED = {
    "captum", "dvc", "fastai", "flask", "matplotlib.pyplot", "mlflow.pytorch", "onnx", "onnxruntime", "prefect", "ray",
    "shap", "timm", "torch._inductor.compile_fx", "tensorboard", "uvicorn",
}  # fmt: skip


def test_a_fine_tuning_imports_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    """From its first line to the model that it logs: nothing that orchestrates, explains, exports or serves."""
    program = """
import atexit, runpy, sys
atexit.register(lambda: print("IMPORTED", *sys.modules))
sys.argv[1:] = ["finetune", "--strategy", "head_only"]
runpy.run_module("tasks", run_name="__main__")
"""
    printed = must(light().copy(tmp_path / "clone").run(sys.executable, "-c", program))
    imported = printed.partition("IMPORTED")[2].split()
    assert "tasks.tracking.model_logging" in imported
    assert UNUSED.isdisjoint(imported)
