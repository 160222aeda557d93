"""What every strategy needs, as Prefect tasks: the images, the pretrained weights, the probe and the race.

Steps are imported when they run: a flow that has nothing to do says so in seconds.
"""

from collections.abc import Callable
from typing import Any

from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from flows import artifacts
from flows.step_tasks.staleness import run_if_stale
from flows.step_tasks.step_task import completed, step_task
from tasks.params import load_params
from tasks.runs.named_files import forget_what_is_gone
from tasks.versioning import Stages, must_be_known_to_dvc


@step_task("version data", retry_if_unavailable=True)
def version_data(force: bool) -> State[Any]:
    """Bring the images here, check, split and decode them, and record their digest."""
    must_be_known_to_dvc(load_params().data.path)
    from tasks.steps.networks import networks

    forget_what_is_gone()
    ran = [run_if_stale("fetch", _fetch, force=force), run_if_stale("prepare", _prepare, force=force)]
    _note("networks", networks)
    artifacts.show_data_quality()
    return completed(any(ran))


def _retrieval(parameters: dict[str, Any]) -> str:
    """Return what names a task run that retrieves a network."""
    return f"retrieve {parameters['network'] or 'backbone'}"


@step_task("retrieve backbone", task_run_name=_retrieval, retry_if_unavailable=True)
def retrieve_backbone(force: bool, network: str = "") -> State[Any]:
    """Fetch and verify the pretrained weights of the backbone, or of a further network."""

    def step() -> None:
        from tasks.steps.backbone import backbone

        for line in backbone(network).lines():
            get_run_logger().info(line)

    return completed(run_if_stale(f"network@{network}" if network else "backbone", step, force=force))


@step_task("screen networks")
def screen_networks(force: bool) -> State[Any]:
    """Find out which of several networks are fine-tuned; where one competes alone, only note that."""
    from tasks.steps.screen import screen

    if not load_params().backbones:
        _note("screen", screen)
        return completed(False)

    def step() -> None:
        for line in screen().lines():
            get_run_logger().info(line)

    return completed(run_if_stale("screen", step, force=force))


@step_task("probe data")
def probe_data(force: bool) -> State[Any]:
    """Measure what frozen features say of the data, and show which strategies are worth running."""
    ran = run_if_stale("probe", _probe, force=force)
    if ran:
        artifacts.show_plan()
    artifacts.show_recommendation()
    return completed(ran)


@step_task("race")
def race_strategies(force: bool) -> State[Any]:
    """Find out which strategies are trained to their end: who can't win any more is stopped."""
    from tasks.steps.race import race

    return completed(run_if_stale("race", race, force=force))


def _fetch() -> None:
    from tasks.steps.fetch import fetch

    fetch()


def _prepare() -> None:
    from tasks.steps import prepare

    for note in prepare.prepare():
        get_run_logger().info(note)


def _note(stage: str, step: Callable[[], Any]) -> None:
    """Run and record a stage that takes no time, without a word, unless DVC calls it current."""
    if not Stages().is_current(stage):
        step()
        Stages().record(stage)


def _probe() -> None:
    from tasks.steps.probe import probe

    probe()
