"""Fine-tuning on the nodes of a Ray cluster, as Prefect tasks: all strategies at once, recorded here in their order."""

from collections.abc import Sequence
from typing import Any

from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from flows.cluster.cluster import Cluster
from flows.step_tasks import fine_tuning
from flows.step_tasks.staleness import must_run
from flows.step_tasks.step_task import completed, step_task
from tasks import layout, stopping


@step_task("fine-tune on a node", task_run_name="fine-tune {strategy} on a node")
def fine_tune_on_node(strategy: str, cluster: Cluster) -> State[Any]:
    """Adapt, fine-tune and evaluate on a node of a cluster, as often as the params ask."""
    cluster.fine_tune(strategy)
    return completed(True)


@step_task("record", task_run_name="record {strategy}")
def record_strategy(strategy: str) -> State[Any]:
    """Record the stage of a strategy that a node has fine-tuned."""
    fine_tuning.record(strategy)
    return completed(True)


def submit_to_nodes(
    strategies: Sequence[str], cluster: Cluster, *, force: bool, after: PrefectFuture[Any]
) -> tuple[list[PrefectFuture[Any]], list[PrefectFuture[Any]]]:
    """Fine-tune by all strategies at once on the nodes of a cluster, and record them, in their order, at the end.

    Returns:
        all task runs, and those that what follows has to wait for.
    """
    after.wait()
    if not after.state.is_completed():
        return [], [after]
    stale = [strategy for strategy in strategies if must_run(layout.stage_of(strategy), force=force)]
    stale = [strategy for strategy in stale if not fine_tuning.is_left_out(strategy)]
    if not stale:
        return [], [after]
    tuned = _side_by_side(stale, cluster)
    recorded = [record_strategy.submit(strategy, wait_for=[future]) for strategy, future in tuned.items()]
    for future in recorded:
        future.wait()
    return [*tuned.values(), *recorded], recorded


def _side_by_side(strategies: Sequence[str], cluster: Cluster) -> dict[str, PrefectFuture[Any]]:
    """Fine-tune by all strategies at once, wait for all, and return their task runs."""
    tuned: dict[str, PrefectFuture[Any]] = {}
    runner: ThreadPoolTaskRunner[Any]
    with ThreadPoolTaskRunner(max_workers=len(strategies)) as runner:
        try:
            for strategy in strategies:
                tuned[strategy] = runner.submit(fine_tune_on_node, {"strategy": strategy, "cluster": cluster})
            for future in tuned.values():
                future.wait()
        except BaseException:
            stopping.ask()  # before the threads are waited for
            raise
    return tuned
