"""What became of an earlier step's run: people delete runs in MLflow's UI, and name other stores and experiments."""

from dataclasses import dataclass

from mlflow.entities import LifecycleStage
from mlflow.exceptions import MlflowException

from tasks.tracking.store import NOT_THERE, client, experiment_id, shown_uri, stored

STANDS_FOR_TAG = "thawline.stands_for"


@dataclass(frozen=True)
class Whereabouts:
    """Where a run is.

    Attributes:
        run_id: itself, or the run that stands for it; empty if the experiment that runs go to has neither.
        fate: what became of it then, in words that follow "the run".
    """

    run_id: str = ""
    fate: str = ""


@stored
def whereabouts(run_id: str) -> Whereabouts:
    """Look for a run in the experiment that runs go to, and else for one that was logged anew in its place."""
    experiment = experiment_id()
    fate = _fate(run_id, experiment)
    if not fate:
        return Whereabouts(run_id)
    others = client().search_runs(
        [experiment], f"tags.`{STANDS_FOR_TAG}` = '{run_id}' and attributes.status = 'FINISHED'", max_results=1
    )
    return Whereabouts(others[0].info.run_id) if others else Whereabouts(fate=fate)


def _fate(run_id: str, experiment: str) -> str:
    """Return why a run can't be used where runs go to; empty if it can."""
    try:
        run = client().get_run(run_id).info
    except MlflowException as error:
        if error.error_code not in NOT_THERE:
            raise
        return f"is not in the tracking store {shown_uri()}"
    if run.lifecycle_stage == LifecycleStage.DELETED:
        return f"was deleted ('mlflow runs restore --run-id {run_id}' brings it back)"
    if run.experiment_id == experiment:
        return ""
    return f"is in another experiment, '{client().get_experiment(run.experiment_id).name}'"
