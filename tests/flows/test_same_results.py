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
        one, other = (project.root / "data/runs" / name for project in (by_dvc, by_flow))
        for file in ("model.safetensors", "predictions.parquet", *REPEATED):
            assert (one / file).read_bytes() == (other / file).read_bytes(), f"{name}/{file}"
        losses = [pd.read_csv(folder / "history.csv") for folder in (one, other)]
        pd.testing.assert_frame_equal(*losses, check_exact=True)


def measured(found: Any) -> Any:
    """Return a comparison without what names the run, and without time, memory and what is derived from them."""
    timed = {"milliseconds", "images_a_second", "peak_memory_mib", "saved", "efficient"}
    of_the_run = timed | {"test_read_at", "verdict", "recorded_run_id"}
    if isinstance(found, dict):
        kept = {key for key in found if "seconds" not in key and "mlflow" not in key and key not in of_the_run}
        return {key: measured(found[key]) for key in kept}
    return [measured(value) for value in found] if isinstance(found, list) else found
