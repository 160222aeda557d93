"""The links of the chain as Prefect tasks: each asks DVC whether its stage is current, and records what it ran.

Only names, paths and small frozen dataclasses pass between tasks. A user's mistake ends a task as Failed with its
sentence, without a traceback.
"""

import logging
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec

from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.cluster import Cluster, connected
from flows.running import RAN
from tasks import layout, stopping
from tasks.errors import UnavailableError, UserError
from tasks.files import naming_what_the_disk_refuses
from tasks.params import Params, load_params
from tasks.runs.named_files import forget_what_is_gone
from tasks.runs.repeats import Repeat, repeats
from tasks.versioning import Stages, must_be_known_to_dvc

P = ParamSpec("P")
OUTSIDE = "Unavailable"


def _without_empty_traceback(record: logging.LogRecord) -> bool:
    """Take the traceback from what a task that fails without an exception logs, which would say 'NoneType: None'."""
    if record.exc_info and record.exc_info[0] is None:
        record.exc_info = None
    return True


logging.getLogger("prefect.task_runs").addFilter(_without_empty_traceback)


def step_task(
    name: str, task_run_name: str | Callable[..., str] | None = None, **options: Any
) -> Callable[[Callable[P, Any]], Any]:
    """Return a decorator that makes a function a Prefect task whose user errors are one sentence."""

    def decorate(function: Callable[P, Any]) -> Any:
        @wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
            try:
                stopping.check()
                with naming_what_the_disk_refuses():
                    return function(*args, **kwargs)
            except stopping.StoppedError:
                return Cancelled(message="stopped")
            except UserError as error:
                return Failed(message=str(error), name=OUTSIDE if isinstance(error, UnavailableError) else "Failed")

        chained: Any = task(name=name, task_run_name=task_run_name or name, **options)(guarded)
        return chained

    return decorate


def _named(words: str) -> Callable[[dict[str, Any]], str]:
    """Return what names a task run after its strategy and repeat."""

    def name(parameters: dict[str, Any]) -> str:
        return words.format(parameters["repeat"].of(parameters["strategy"]))

    return name


def outside_failed(_: Any, __: Any, state: State[Any]) -> bool:
    """Retry only what something outside can mend."""
    return state.name == OUTSIDE


def must_run(stage: str, *, force: bool) -> bool:
    """Return whether a stage has to run, and say so: it is forced, or DVC doesn't call it current."""
    runs = force or not Stages().is_current(stage)
    get_run_logger().info("running %s" if runs else "skipped %s: up to date", stage)
    return runs


def run_if_stale(stage: str, step: Callable[[], Any], *, force: bool) -> bool:
    """Run a step unless DVC calls its stage current, record it, and return whether it ran."""
    if not must_run(stage, force=force):
        return False
    step()
    Stages().record(stage)
    return True


@step_task("version data", retries=2, retry_delay_seconds=5, retry_condition_fn=outside_failed)
def version_data(force: bool) -> State[Any]:
    """Bring the images here, check, split and decode them, and record their digest."""
    from tasks.data.quality import rows
    from tasks.runs.outputs import read_quality

    must_be_known_to_dvc(load_params().data.path)
    forget_what_is_gone()
    ran = [run_if_stale("fetch", _fetch, force=force), run_if_stale("prepare", _prepare, force=force)]
    create_table_artifact(rows(read_quality()), key="data-quality", description="What the images are, counted.")
    return _done(any(ran))


@step_task("retrieve backbone", retries=2, retry_delay_seconds=5, retry_condition_fn=outside_failed)
def retrieve_backbone(force: bool) -> State[Any]:
    """Fetch and verify the pretrained weights."""
    return _done(run_if_stale("backbone", _backbone, force=force))


@step_task("probe data")
def probe_data(force: bool) -> State[Any]:
    """Measure what frozen features say of the data, and show which strategies are worth running."""
    from tasks.comparison.recommendation import recommend
    from tasks.runs.outputs import read_probe

    ran = run_if_stale("probe", _probe, force=force)
    advised = recommend(read_probe().facts, load_params().strategies)
    table = [
        {"expected": place, "strategy": advice.name, "why": advice.sentence}
        for place, advice in enumerate(advised.order, 1)
    ]
    words = ["What was expected before training, the best first.", *advised.warnings]
    create_table_artifact(table, key="recommendation", description=" ".join(words))
    return _done(ran)


@step_task("race")
def race_strategies(force: bool) -> State[Any]:
    """With a time budget, find out which strategies are trained to their end."""
    from tasks.steps.race import race

    return _done(run_if_stale("race", race, force=force))


@step_task("adapt (freeze, replace head)", task_run_name=_named("adapt {} (freeze, replace head)"))
def adapt(strategy: str, repeat: Repeat, force: bool) -> Any:
    """Make the network fit the data and plan what freezes, unless the strategy's outputs are current."""
    if not must_run(f"finetune@{strategy}", force=force):
        return _done(False, data=None)
    from tasks.steps import finetune

    return finetune.adapt(strategy, repeat)


@step_task("fine-tune", task_run_name=_named("fine-tune {}"))
def fine_tune(strategy: str, repeat: Repeat, attempt: Any) -> Any:
    """Train by the plan."""
    if attempt is None:
        return _done(False, data=None)
    from tasks.steps import finetune

    finetune.train(attempt)
    return attempt


@step_task("evaluate", task_run_name=_named("evaluate {}"))
def evaluate(strategy: str, repeat: Repeat, attempt: Any, last: bool) -> State[Any]:
    """Evaluate on the validation split, hand the model over, and record the stage behind its last repeat."""
    if attempt is None:
        return _done(False)
    from tasks.steps import finetune

    finetune.evaluate(attempt)
    if last:
        finetune.clean_up(strategy)
        Stages().record(f"finetune@{strategy}")
    return _done(True)


def submit_fine_tunings(
    strategy: str, asked: Sequence[Repeat], *, force: bool, after: PrefectFuture[Any]
) -> list[PrefectFuture[Any]]:
    """Submit all fine-tunings of a strategy, one behind the other; return their task runs, the last evaluation last."""
    submitted: list[PrefectFuture[Any]] = []
    for repeat in asked:
        adapted = adapt.submit(strategy, repeat, force, wait_for=[after])
        trained = fine_tune.submit(strategy, repeat, adapted)
        after = evaluate.submit(strategy, repeat, trained, last=repeat == asked[-1])
        submitted += [adapted, trained, after]
    return submitted


@step_task("fine-tune on a node", task_run_name="fine-tune {strategy} on a node")
def fine_tune_on_node(strategy: str, cluster: Cluster) -> State[Any]:
    """Adapt, fine-tune and evaluate on a node of a cluster, as often as the params ask."""
    cluster.fine_tune(strategy)
    return _done(True)


@step_task("record", task_run_name="record {strategy}")
def record_strategy(strategy: str) -> State[Any]:
    """Record the stage of a strategy that a node has fine-tuned."""
    from tasks.steps import finetune

    finetune.clean_up(strategy)
    Stages().record(f"finetune@{strategy}")
    return _done(True)


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
    stale = [strategy for strategy in strategies if must_run(f"finetune@{strategy}", force=force)]
    if not stale:
        return [], [after]
    tuned: dict[str, PrefectFuture[Any]] = {}
    side_by_side: ThreadPoolTaskRunner[Any]
    with ThreadPoolTaskRunner(max_workers=len(stale)) as side_by_side:
        try:
            for strategy in stale:
                tuned[strategy] = side_by_side.submit(fine_tune_on_node, {"strategy": strategy, "cluster": cluster})
            for future in tuned.values():
                future.wait()
        except BaseException:
            stopping.ask()  # before the threads are waited for
            raise
    recorded = [record_strategy.submit(strategy, wait_for=[future]) for strategy, future in tuned.items()]
    for future in recorded:
        future.wait()
    return [*tuned.values(), *recorded], recorded


def asked_for(params: Params, after: PrefectFuture[Any]) -> list[Repeat]:
    """Return all fine-tunings of a strategy; where the images decide on their number, they have to be there first."""
    if params.split.is_on_one_split:
        return repeats(params.train)
    after.wait()
    if not after.state.is_completed():
        return repeats(params.train)
    from tasks.data import manifest

    return repeats(params.train, manifest.folds_in(layout.MANIFEST))


def submit_all_fine_tunings(
    strategies: Sequence[str], params: Params, cluster: Cluster | None, *, force: bool, after: PrefectFuture[Any]
) -> tuple[list[PrefectFuture[Any]], list[PrefectFuture[Any]]]:
    """Submit the fine-tunings of strategies: to a cluster, or else to this process, one after the other.

    Returns:
        all task runs, and those that what follows has to wait for.
    """
    if cluster:
        return submit_to_nodes(strategies, cluster, force=force, after=after)
    asked = asked_for(params, after)
    tuned = [submit_fine_tunings(strategy, asked, force=force, after=after) for strategy in strategies]
    return [future for own in tuned for future in own], [own[-1] for own in tuned]


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
    publish(comparison)
    return _done(ran)


def submit_strategies(force: bool, only: str = "", *, promote: bool = True) -> list[PrefectFuture[Any]]:
    """Submit the whole chain, from the data to the comparison, and return its tasks.

    Args:
        force: run every stage, also those that are up to date.
        only: the only strategy to run; empty: all.
        promote: make the winner the champion; otherwise it becomes the challenger.
    """
    params = load_params()
    strategies = [only] if only else list(params.strategies)
    with connected(params, get_run_logger().info) as cluster:
        data = version_data.submit(force)
        backbone = retrieve_backbone.submit(force, wait_for=[data])
        probed = probe_data.submit(force, wait_for=[backbone])
        raced = probed if only else race_strategies.submit(force, wait_for=[probed])
        tuned, evaluated = submit_all_fine_tunings(strategies, params, cluster, force=force, after=raced)
    compared = compare_strategies.submit(force, only, promote, wait_for=evaluated)
    return list(dict.fromkeys([data, backbone, probed, raced, *tuned, compared]))


@step_task("compare on a revision", task_run_name="compare on the images of {rev}")
def compare_revision(rev: str, force: bool) -> State[Any]:
    """Compare on an older version of the images, in a process and a clone of its own."""
    from flows.revisions import compare_at

    status = compare_at(rev, force=force)
    if status:
        return Failed(message=f"the comparison on the revision {rev} failed with status {status}: see its output above")
    return _done(True)


def publish(comparison: Any) -> None:
    """Put the comparison, its verdict and the link to MLflow on the flow run's page."""
    from tasks import tracking
    from tasks.comparison.summary import markdown, rows

    address = tracking.run_address(comparison.mlflow_experiment_id, comparison.mlflow_run_id)
    page = markdown(comparison, {"the comparison in MLflow": address})
    create_table_artifact(rows(comparison), key="comparison", description=comparison.verdict)
    create_markdown_artifact(page, key="verdict", description=comparison.verdict)
    create_link_artifact(address, key="mlflow-run", link_text="the comparison in MLflow", description=address)


def _fetch() -> None:
    from tasks.steps.fetch import fetch

    fetch()


def _backbone() -> None:
    from tasks.steps.backbone import backbone

    for line in backbone().lines():
        get_run_logger().info(line)


def _probe() -> None:
    from tasks.steps.probe import probe

    probe()


def _prepare() -> None:
    from tasks.steps import prepare

    for note in prepare.prepare():
        get_run_logger().info(note)


def _done(ran: bool, **data: Any) -> State[Any]:
    return Completed(message=RAN) if ran else Completed(name="Skipped", message="up to date", **data)
