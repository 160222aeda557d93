"""The chain: version data → retrieve backbone → screen → probe → race → fine-tune by every strategy → compare."""

from collections.abc import Sequence
from typing import Any

from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger

from flows.cluster.cluster import Cluster
from flows.cluster.connection import connected
from flows.step_tasks.comparison import compare_strategies
from flows.step_tasks.fine_tuning import requested_repeats, submit_fine_tunings
from flows.step_tasks.fine_tuning_on_nodes import submit_to_nodes
from flows.step_tasks.preparation import probe_data, race_strategies, retrieve_backbone, screen_networks, version_data
from tasks.params import Params, load_params
from tasks.runs.candidates import stages_of_candidates


def submit_comparison(force: bool, only: str = "", *, promote: bool = True) -> list[PrefectFuture[Any]]:
    """Submit the whole chain, from the data to the comparison, and return its tasks.

    Args:
        force: run every stage, also those that are up to date.
        only: the only strategy to run; empty: all.
        promote: make the winner the champion; otherwise it becomes the challenger.
    """
    params = load_params()
    candidates = [only] if only else stages_of_candidates(params)
    with connected(params, get_run_logger().info) as cluster:
        data = version_data.submit(force)
        backbones = submit_backbones(params, force=force, after=data)
        screened = screen_networks.submit(force, wait_for=backbones)
        probed = probe_data.submit(force, wait_for=[screened])
        raced = probed if only else race_strategies.submit(force, wait_for=[probed])
        tuned, evaluated = submit_strategies(candidates, params, cluster, force=force, after=raced)
    compared = compare_strategies.submit(force, only, promote, wait_for=evaluated)
    return list(dict.fromkeys([data, *backbones, screened, probed, raced, *tuned, compared]))


def submit_strategy(strategy: str, *, force: bool) -> list[PrefectFuture[Any]]:
    """Submit the part of the chain that one strategy needs, from the data to its evaluation, and return its tasks."""
    params = load_params()
    candidate = params.candidate(strategy)
    params.strategy(candidate)
    with connected(params, get_run_logger().info) as cluster:
        data = version_data.submit(force)
        backbones = submit_backbones(params, force=force, after=data)
        screened = screen_networks.submit(force, wait_for=backbones)
        raced = race_strategies.submit(force, wait_for=[screened])
        tuned, _ = submit_strategies([candidate], params, cluster, force=force, after=raced)
    return [data, *backbones, screened, raced, *tuned]


def submit_backbones(params: Params, *, force: bool, after: PrefectFuture[Any]) -> list[PrefectFuture[Any]]:
    """Submit the retrieval of every network's weights, and return the tasks."""
    return [retrieve_backbone.submit(force, network, wait_for=[after]) for network in ("", *params.backbones)]


def submit_strategies(
    candidates: Sequence[str], params: Params, cluster: Cluster | None, *, force: bool, after: PrefectFuture[Any]
) -> tuple[list[PrefectFuture[Any]], list[PrefectFuture[Any]]]:
    """Submit the fine-tunings of candidates: to a cluster, or else to this process, one after the other.

    Returns:
        all task runs, and those that what follows has to wait for.
    """
    if cluster:
        return submit_to_nodes(candidates, cluster, force=force, after=after)
    requested = requested_repeats(params, after)
    by_candidate = [submit_fine_tunings(candidate, requested, force=force, after=after) for candidate in candidates]
    return [future for tuned in by_candidate for future in tuned], [tuned[-1] for tuned in by_candidate]
