"""The code that a result depends on: an edit of it is another result, an edit of any other file is none."""

from collections.abc import Sequence
from pathlib import Path

from tasks.files import digest_of, sha256_of

ROOT = Path(__file__).parents[2]
EVERYTHING = ("tasks",)
EVALUATION = ("tasks/evaluation",)
# What the stage finetune of dvc.yaml depends on, so that it is stale when a fine-tuning would be another one.
FINE_TUNING = (
    "tasks/backbones",
    "tasks/data/augmentation.py",
    "tasks/data/store.py",
    "tasks/engines",
    "tasks/evaluation",
    "tasks/params",
    "tasks/runs/fine_tuning.py",
    "tasks/runs/networks.py",
    "tasks/runs/prepared.py",
    "tasks/runs/repeats.py",
    "tasks/steps/finetune.py",
    "tasks/strategies",
    "tasks/training",
)


def digest_of_code(paths: Sequence[str], root: Path = ROOT) -> str:
    """Return a SHA-256 over the names and contents of source files.

    Args:
        paths: files, and folders with all of the sources in them, relative to ``root``.
        root: of the repository.

    Raises:
        FileNotFoundError: a file is not there.
    """
    files = sorted({file for path in paths for file in _sources(root / path)})
    return digest_of([(file.relative_to(root).as_posix(), sha256_of(file)) for file in files])


def _sources(path: Path) -> list[Path]:
    return [path] if path.suffix else list(path.rglob("*.py"))
