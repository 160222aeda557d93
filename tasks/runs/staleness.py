"""The beginning of a retraining: is there anything new? What it takes to say so is imported in a second."""

from tasks import layout, versioning
from tasks.files import read_json
from tasks.params import load_params
from tasks.runs.candidates import stages_of_candidates
from tasks.runs.named_files import forget_what_is_gone

GATE = "gate"


def update() -> str:
    """Bring the newest images where ``retrain.update`` asks for it; return what was done.

    Raises:
        UserError: DVC doesn't track them.
        UnavailableError: they could not be brought.
    """
    params = load_params(layout.PARAMS)
    if not params.retrain.update or params.data.fetched:
        return ""
    return versioning.update(params.data.path)


def whats_new(only: str = "") -> list[str]:
    """Return what has to be done: stages of DVC that are stale, and ``gate`` where a challenger waits for it.

    Args:
        only: the only strategy that counts; empty: all, and their comparison.
    """
    forget_what_is_gone()
    stale = versioning.Stages().stale(_stages(only))
    if only and not stale and not _is_compared(only):
        stale = ["compare"]
    return [*stale, *([GATE] if layout.CHALLENGER.is_file() else [])]


def _stages(only: str) -> list[str]:
    params = load_params(layout.PARAMS)
    tuned = [layout.stage_of(name) for name in ([only] if only else stages_of_candidates(params))]
    networks = ["networks", "backbone", *(f"network@{name}" for name in params.backbones)]
    return ["fetch", "prepare", *networks, "screen", "probe", *tuned, *([] if only else ["race", "compare"])]


def _is_compared(strategy: str) -> bool:
    """Return whether the last comparison has the strategy's last run, on the images as they are recorded."""
    if not layout.COMPARISON.is_file():
        return False
    compared, run = read_json(layout.COMPARISON), read_json(layout.run_file(strategy, "run.json"))
    result = compared["strategies"].get(load_params(layout.PARAMS).title(strategy), {})
    if run["mlflow_run_id"] not in (result.get("recorded_run_id"), result.get("mlflow_run_id")):
        return False
    digest: str = compared["data"]["digest"]
    return digest == versioning.data_digest(load_params(layout.PARAMS).data)
