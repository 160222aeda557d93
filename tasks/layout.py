"""Where every file lies, relative to the root of the repository.

A candidate is a strategy on a network: ``STRATEGY`` on the backbone, ``NETWORK/STRATEGY`` on a further network.
"""

from pathlib import Path

PARAMS = Path("params.yaml")
FETCHED = Path("data/fetched")
MANIFEST = Path("data/manifest.parquet")
QUARANTINE = Path("data/quarantine.parquet")
UNLABELLED = Path("data/unlabelled.parquet")
LEAKS = Path("data/leaks.parquet")
PIXELS = Path("data/pixels.npy")
WORKING_SIZE = Path("data/working_size.json")  # of the prepared images
QUALITY = Path("data/quality.json")
PROBE = Path("data/probe.json")
SCREENING = Path("data/screening.json")
WEIGHTS = Path("data/backbone/weights.safetensors")
WEIGHTS_RECORD = Path("data/backbone/record.json")
NETWORKS = Path("data/networks")  # a folder a further network, and which there are
COMPETING = Path("data/networks/competing.json")
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


def weights(network: str = "") -> Path:
    """Return the pretrained weights of the backbone, or of a further network."""
    return _of(network, WEIGHTS.name) if network else WEIGHTS


def weights_record(network: str = "") -> Path:
    """Return the record of where a network's weights came from."""
    return _of(network, WEIGHTS_RECORD.name) if network else WEIGHTS_RECORD


def named(network: str = "") -> tuple[Path, Path]:
    """Return the folders of links to the files that params name of a network: its weights, and itself."""
    return (_of(network, "named_weights"), _of(network, "named_network")) if network else (NAMED_WEIGHTS, NAMED_NETWORK)


def run_file(candidate: str, name: str, repeat: str = "") -> Path:
    """Return an output of a candidate, or of its repeat: ``model.safetensors``, ``metrics.json``, ``history.csv``, …"""
    return repeats(candidate) / repeat / name if repeat else RUNS / candidate / name


def network_of(candidate: str) -> str:
    """Return the further network that a candidate is on; empty: the backbone."""
    return candidate.rpartition("/")[0]


def stage_of(candidate: str) -> str:
    """Return the DVC stage of a candidate."""
    network, _, strategy = candidate.rpartition("/")
    return f"candidate@{network}-{strategy}" if network else f"finetune@{strategy}"


def work(candidate: str, identity: str) -> Path:
    """Return the folder of intermediate files of a candidate; ``identity`` may be a pattern."""
    return WORK / f"{_flat(candidate)}-{identity}"


def rungs(candidate: str, identity: str) -> Path:
    """Return the folder of what a candidate shows in races; ``identity`` may be a pattern."""
    return RUNGS / f"{_flat(candidate)}-{identity}"


def lock_of(stage: str) -> Path:
    """Return what a step holds while it runs."""
    return LOCKS / f"{stage}.lock"


def started(stage: str) -> Path:
    """Return the file that names the MLflow run which a stage started last."""
    return STARTED / f"{_flat(stage)}.json"


def race_file(candidate: str) -> Path:
    """Return what the race says of a candidate."""
    return RACE / f"{candidate}.json"


def repeats(candidate: str) -> Path:
    """Return the folder of a candidate's repeats, a folder each."""
    return RUNS / candidate / REPEATS


def _of(network: str, name: str) -> Path:
    return NETWORKS / network / name


def _flat(name: str) -> str:
    """Return a name without folders; no name that params give has a dot."""
    return name.replace("/", ".")
