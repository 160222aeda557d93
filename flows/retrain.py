"""The scheduled job: anything new? → the main job → the challenger against the champion → promoted, or not."""

from typing import Annotated, Any

import typer
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed

from flows import artifacts
from flows.chain import submit_comparison
from flows.commands import one_sentence, run
from flows.exclusive import exclusively
from flows.outcome import outcome, sequential_runner
from flows.server import check_server
from flows.step_tasks.staleness import run_if_stale
from flows.step_tasks.step_task import step_task
from tasks.params import load_params

NO_NEW_DATA = "no new data"
LONGEST = 20 * 60 * 60  # seconds, so that a night's run has ended when the next begins


@step_task("take the newest data", retry_if_unavailable=True)
def take_newest(only_champion: bool) -> Any:
    """Bring the newest images, and return the strategy to run alone, or nothing, and the stages that are stale."""
    from tasks.runs.staleness import update, whats_new
    from tasks.steps.fetch import fetch

    if said := update():
        get_run_logger().info(said)
    if load_params().data.url:  # what is there now decides, which DVC does not ask
        run_if_stale("fetch", fetch, force=True)
    only = _strategy_of_champion() if only_champion else ""
    return only, whats_new(only)


@step_task("gate")
def decide() -> Any:
    """Hold the challenger against the champion, promote it or not, and say so on the flow run's page."""
    from tasks.steps import retrain as step

    decided = step.decide()
    for warning in decided.warnings:
        get_run_logger().warning(warning)
    artifacts.show_decision(decided)
    if decided.decision != "unchanged":
        announce(decided.decision, decided.champion, **decided.model_dump(mode="json", exclude={"ruling"}))
    return decided


@step_task("keep what was made", retry_if_unavailable=True)
def keep(decided: Any) -> State[Any]:
    """Push and commit, where the params ask for it."""
    from tasks.steps import retrain as step

    done = step.keep(decided)
    return Completed(message="; ".join(done)) if done else Completed(name="Skipped", message="not asked for")


@flow(name="retrain", task_runner=sequential_runner(), timeout_seconds=LONGEST)
def retrain(only_champion: bool = False, force: bool = False) -> State[Any]:
    """Retrain where there is something new, and promote the winner if it passes the gate.

    Args:
        only_champion: run only the strategy that the champion was made by, instead of comparing all.
        force: run every stage, also where nothing is new.
    """
    return exclusively("retrain", lambda: _retrain(only_champion, force=force))


def _retrain(only_champion: bool, *, force: bool) -> State[Any]:
    newest = take_newest.submit(only_champion)
    newest.wait()
    if not newest.state.is_completed():
        return outcome([newest])
    only, stale = newest.result()
    if not stale and not force:
        return Completed(name="Skipped", message=f"{NO_NEW_DATA} since the last comparison")
    get_run_logger().info("to be done: %s", ", ".join(stale) or "everything, by force")
    trained = submit_comparison(force, only, promote=False)
    decided = decide.submit(wait_for=trained)
    kept = keep.submit(decided)
    done = outcome([*trained, decided, kept])
    if not done.is_completed():
        return done
    decision = decided.result()
    return Completed(name=decision.decision.capitalize(), message=decision.sentence)


def _strategy_of_champion() -> str:
    from tasks.steps.retrain import strategy_of_champion

    return strategy_of_champion()


def announce(what: str, version: str, **payload: Any) -> None:
    """Emit ``thawline.champion.WHAT``, which automations can be triggered by."""
    resource = {"prefect.resource.id": "thawline.champion", "prefect.resource.name": f"version {version}"}
    emit_event(f"thawline.champion.{what}", resource, payload=payload)


def main(
    only_champion: Annotated[bool, typer.Option(help="Run only the strategy that the champion was made by.")] = False,
    force: Annotated[bool, typer.Option(help="Run every stage, also where nothing is new.")] = False,
    rollback: Annotated[bool, typer.Option(help="Make the champion before the last one champion again.")] = False,
) -> None:
    """Retrain where there is something new, and promote the winner if it passes the gate."""
    if not rollback:
        run(retrain, only_champion=only_champion, force=force)
        return
    from tasks.steps.rollback import roll_back

    with one_sentence():
        check_server()
        now, before = roll_back()
    if PREFECT_API_URL.value():  # without a server, nothing hears of it
        announce("rolled-back", now, champion=now, previous=before)
    typer.echo(f"thawline: version {now} is champion again, version {before} is the previous one")


if __name__ == "__main__":
    typer.run(main)
