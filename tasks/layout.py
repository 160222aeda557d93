"""Where every file lies, relative to the root of the repository."""

from pathlib import Path

PARAMS = Path("params.yaml")
FETCHED = Path("data/fetched")
MANIFEST = Path("data/manifest.parquet")
QUARANTINE = Path("data/quarantine.parquet")
UNLABELLED = Path("data/unlabelled.parquet")
LEAKS = Path("data/leaks.parquet")
PIXELS = Path("data/pixels.npy")
QUALITY = Path("data/quality.json")
PROBE = Path("data/probe.json")
WEIGHTS = Path("data/backbone/weights.safetensors")
WEIGHTS_RECORD = Path("data/backbone/record.json")
NAMED_WEIGHTS = Path("data/named/weights")  # links to what params name
NAMED_NETWORK = Path("data/named/network")
RUNS = Path("data/runs")
REPEATS = "repeats"  # folder of a strategy's further fine-tunings, a folder each
RACE = Path("data/race")
WORK = Path("data/work")
ENGINES = Path("data/work/engines")  # how fast this machine is, and in which way
RUNGS = Path("data/work/rungs")  # what strategies showed of themselves in races
HANDED_OVER = Path("data/work/handed_over")  # what the race leaves to the stages of strategies that ended there
STARTED = Path("data/work/started")
REPORT = Path("data/reports/comparison.html")
COMPARISON = Path("data/reports/comparison.json")
CHALLENGER = Path("data/work/challenger.json")  # one that is registered, and that nothing was decided of yet
RETRAIN = Path("data/reports/retrain.json")
TEST_PREDICTIONS = Path("data/reports/predictions.parquet")
UNLABELLED_SCORES = Path("data/reports/unlabelled.parquet")
LOCK = Path(".dvc/tmp/thawline.lock")  # of the working copy
LOCKS = Path(".dvc/tmp/thawline")  # of the stages
KEPT_LOCK = Path(".dvc/tmp/thawline/dvc.lock.yaml")  # as it was before DVC wrote it last


def run_file(strategy: str, name: str, repeat: str = "") -> Path:
    """Return an output of a strategy, or of its repeat: ``model.safetensors``, ``metrics.json``, ``history.csv``, …"""
    return repeats(strategy) / repeat / name if repeat else RUNS / strategy / name


def lock_of(stage: str) -> Path:
    """Return what a step holds while it runs."""
    return LOCKS / f"{stage}.lock"


def started(stage: str) -> Path:
    """Return the file that names the MLflow run which a stage started last."""
    return STARTED / f"{stage}.json"


def race_file(strategy: str) -> Path:
    """Return what the race says of a strategy."""
    return RACE / f"{strategy}.json"


def repeats(strategy: str) -> Path:
    """Return the folder of a strategy's repeats, a folder each."""
    return RUNS / strategy / REPEATS
