"""The comparison as a Prefect task: of this working copy's strategies, and on an older revision of the images."""

from typing import Any

from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Failed

from flows import artifacts
from flows.step_tasks.staleness import run_if_stale
from flows.step_tasks.step_task import completed, step_task


@step_task("compare")
def compare_strategies(force: bool, only: str = "", promote: bool = True) -> State[Any]:
    """Read the test split, order the strategies, and show the result.

    Where only one strategy is looked at, DVC's stage, which compares them all, stays as stale as it was.
    """
    from tasks.comparison.table import show
    from tasks.runs.outputs import last_comparison
    from tasks.runs.unlabelled import scored_sentence

    def step() -> None:
        from tasks.steps.compare import compare

        compare(only=only, promote=promote)

    ran = True
    if only:
        step()
    else:
        ran = run_if_stale("compare", step, force=force)
    comparison = last_comparison()
    show(comparison)
    if line := scored_sentence():
        get_run_logger().info(line)
    artifacts.show_comparison(comparison)
    return completed(ran)


@step_task("compare on a revision", task_run_name="compare on the images of {rev}")
def compare_revision(rev: str, force: bool) -> State[Any]:
    """Compare on an older version of the images, in a process and a clone of its own."""
    from flows.revisions import compare_at

    status = compare_at(rev, force=force)
    if status:
        return Failed(message=f"the comparison on the revision {rev} failed with status {status}: see its output above")
    return completed(True)
