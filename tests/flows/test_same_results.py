"""Both doors leave the same results: ``dvc repro`` and ``python -m flows.compare``, each in a clone of its own."""

from typing import Any

import pandas as pd

from tests.support.golden import SHARE, STRATEGIES
from tests.support.project import Project
from tests.support.results import read_comparison

REPEATED = [f"repeats/{repeat}/predictions.parquet" for repeat in ("seed-1", f"share-{SHARE}")]


def test_both_doors_give_the_same_bits(by_dvc: Project, by_flow: Project) -> None:
    """Weights and predictions are equal byte for byte, figures and losses number for number."""
    assert measured(read_comparison(by_dvc).model_dump()) == measured(read_comparison(by_flow).model_dump())
    for name in STRATEGIES:
        by_command, by_task = (project.root / "data/runs" / name for project in (by_dvc, by_flow))
        for file in ("model.safetensors", "predictions.parquet", *REPEATED):
            assert (by_command / file).read_bytes() == (by_task / file).read_bytes(), f"{name}/{file}"
        losses = [pd.read_csv(folder / "history.csv") for folder in (by_command, by_task)]
        pd.testing.assert_frame_equal(*losses, check_exact=True)


def measured(value: Any) -> Any:
    """Return a comparison without what names the run, and without time, memory and what is derived from them."""
    timed = {"milliseconds", "images_a_second", "peak_memory_mib", "saved", "efficient"}
    of_the_run = timed | {"test_read_at", "verdict", "recorded_run_id"}
    if isinstance(value, dict):
        kept = {key for key in value if "seconds" not in key and "mlflow" not in key and key not in of_the_run}
        return {key: measured(value[key]) for key in kept}
    return [measured(value) for value in value] if isinstance(value, list) else value
