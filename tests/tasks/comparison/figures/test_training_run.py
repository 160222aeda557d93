"""A fine-tuning has its pictures in MLflow."""

from pathlib import Path

from PIL import Image

from tasks.comparison.figures.training_run import write_figures


def test_a_run_has_its_pictures(tmp_path: Path) -> None:
    """Curves, confusion, plan and range test are drawn, with class names that look like mathematics, too."""
    history = [{"epoch": float(e), "train_loss": 1.0, "val_loss": 1.0 - e / 10} for e in range(3)]
    progress = {"history": history, "best_epoch": 2}
    parts = [{"name": "stem", "parameters": 9, "thaws_at": None, "rates": [None]},
             {"name": "head", "parameters": 5, "thaws_at": 0, "rates": [0.1]}]  # fmt: skip
    curve = [(10.0**-e, 1.0 / e) for e in range(6, 1, -1)]
    scores = {"confusion": [[3, 1], [0, 4]]}
    files = write_figures(
        tmp_path, progress, {"parts": parts, "phases": [3]}, [(curve, 1e-3)], scores, ["$_$", r"$\frac$"]
    )
    assert [file.name for file in files] == ["run.png", "freeze_plan.png", "range_test_1.png"]
    for file in files:
        with Image.open(file) as image:
            assert min(image.size) > 200
