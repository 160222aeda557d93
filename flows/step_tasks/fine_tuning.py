"""Fine-tuning in this process, as Prefect tasks: adapt → fine-tune → evaluate, as often as the params ask."""

from collections.abc import Callable, Sequence
from typing import Any

from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Completed

from flows.step_tasks.staleness import must_run
from flows.step_tasks.step_task import completed, step_task
from tasks import layout
from tasks.params import Params, load_params
from tasks.runs import candidates, handover
from tasks.runs.repeats import Repeat, repeats
from tasks.versioning import Stages


def _run_name(template: str) -> Callable[[dict[str, Any]], str]:
    """Return what names a task run after its strategy and repeat."""

    def name(parameters: dict[str, Any]) -> str:
        return template.format(parameters["repeat"].of(load_params().title(parameters["strategy"])))

    return name


@step_task("adapt (freeze, replace head)", task_run_name=_run_name("adapt {} (freeze, replace head)"))
def adapt(strategy: str, repeat: Repeat, force: bool) -> Any:
    """Make the network fit the data and plan what freezes, unless the strategy's outputs are current, or wait."""
    stage = layout.stage_of(strategy)
    if not must_run(stage, force=force):
        return completed(False, data=None)
    if is_left_out(strategy):
        return Completed(name="Skipped", message=candidates.why_left_out(strategy), data=None)
    if not force and handover.take_over(strategy):
        Stages().record(stage)
        return completed(True, data=None)
    from tasks.steps import finetune

    return finetune.adapt(strategy, repeat)


@step_task("fine-tune", task_run_name=_run_name("fine-tune {}"))
def fine_tune(strategy: str, repeat: Repeat, attempt: Any) -> Any:
    """Train by the plan."""
    if attempt is None:
        return completed(False, data=None)
    from tasks.steps import finetune

    finetune.train(attempt)
    return attempt


@step_task("evaluate", task_run_name=_run_name("evaluate {}"))
def evaluate(strategy: str, repeat: Repeat, attempt: Any, last: bool) -> State[Any]:
    """Evaluate on the validation split, hand the model over, and record the stage behind its last repeat."""
    if attempt is None:
        return completed(False)
    from tasks.steps import finetune

    finetune.evaluate(attempt)
    if last:
        record(strategy)
    return completed(True)


def is_left_out(strategy: str) -> bool:
    """Return whether a candidate is left out; if so, its stage is recorded."""
    reason = candidates.why_left_out(strategy)
    if reason:
        candidates.leave_out(strategy, reason)
        Stages().record(layout.stage_of(strategy))
    return bool(reason)


def record(strategy: str) -> None:
    """Record the stage of a strategy, all of whose fine-tunings are done."""
    from tasks.steps import finetune

    finetune.clean_up(strategy)
    Stages().record(layout.stage_of(strategy))


def submit_fine_tunings(
    strategy: str, requested: Sequence[Repeat], *, force: bool, after: PrefectFuture[Any]
) -> list[PrefectFuture[Any]]:
    """Submit all fine-tunings of a strategy, one behind the other; return their task runs, the last evaluation last."""
    submitted: list[PrefectFuture[Any]] = []
    for repeat in requested:
        adapted = adapt.submit(strategy, repeat, force, wait_for=[after])
        trained = fine_tune.submit(strategy, repeat, adapted)
        after = evaluate.submit(strategy, repeat, trained, last=repeat == requested[-1])
        submitted += [adapted, trained, after]
    return submitted


def requested_repeats(params: Params, after: PrefectFuture[Any]) -> list[Repeat]:
    """Return all fine-tunings of a strategy; where the images decide on their number, they have to be there first."""
    if params.split.is_on_one_split:
        return repeats(params.train)
    after.wait()
    if not after.state.is_completed():
        return repeats(params.train)
    from tasks.data import manifest

    return repeats(params.train, manifest.folds_in(layout.MANIFEST))
