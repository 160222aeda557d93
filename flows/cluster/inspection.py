"""A cluster's nodes before they work: which are large enough, and whether each would give this process's results."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flows.cluster import node
from flows.cluster.cluster import Cluster
from flows.cluster.remote import as_remote, only_on
from tasks.errors import UserError, listed
from tasks.params import Params

GPU_SHARE = 0.01  # of a GPU, which Ray shows only to those that take some
SECONDS_TO_ANSWER = 180.0

Say = Callable[[str], None]


def inspect_nodes(params: Params, say: Say) -> Cluster:
    """Return the cluster when every node that may be used has answered what this process would.

    Args:
        params: the strategies, and how they are trained.
        say: takes the lines that say which nodes are used, and how they differ.

    Raises:
        UserError: no node has what a strategy takes, or one of them lacks something.
    """
    import ray

    from tasks import tracking

    tracking.experiment_id()  # makes a new store, which only one process may
    alive = {f"{info['NodeManagerHostname']} ({info['NodeID'][:8]})": info for info in ray.nodes() if info["Alive"]}
    cluster = _cluster_for(params, alive)
    usable = large_enough(cluster, alive)
    say(f"the strategies are spread over Ray's {listed(list(usable))}")
    with_gpu = {name for name, info in usable.items() if cluster.on_gpu and _fits({"GPU": 1}, info)}
    here = node.facts()
    answers = _ask_nodes(cluster, usable, with_gpu)
    refuse_what_lacks(answers)
    for alike in (with_gpu, usable.keys() - with_gpu):
        for line in remarks({name: answers[name]["facts"] for name in usable if name in alike}, here):
            say(line)
    return cluster


def _cluster_for(params: Params, alive: Mapping[str, Any]) -> Cluster:
    """Return the cluster by what this process wants of it: strategies take GPUs where some node has one."""
    import torch

    has_gpus = any(_fits({"GPU": 1}, info) for info in alive.values())
    candidates = params.candidates
    on_gpu = frozenset(name for name, strategy in candidates.items() if has_gpus and strategy.device != "cpu")
    processes = {name: strategy.processes for name, strategy in candidates.items()}
    return Cluster(str(Path.cwd()), torch.get_num_threads(), processes, on_gpu, node.settings())


def _ask_nodes(cluster: Cluster, usable: Mapping[str, Any], with_gpu: set[str]) -> dict[str, Any]:
    """Return what each node answers to ``node.inspect``, by name.

    Raises:
        UserError: one gives no answer.
    """
    import ray

    questions = {
        as_remote(
            node.inspect, num_cpus=0, num_gpus=GPU_SHARE if name in with_gpu else 0,
            scheduling_strategy=only_on(info["NodeID"]),
        ).remote(cluster.root, cluster.environment, cluster.threads): name
        for name, info in usable.items()
    }  # fmt: skip
    answered, late = ray.wait(list(questions), num_returns=len(questions), timeout=SECONDS_TO_ANSWER)
    if late:
        raise UserError(
            f"the node {questions[late[0]]} gave no answer within {SECONDS_TO_ANSWER:.0f} s: wait until it is free, or "
            "restart Ray there"
        )
    return {questions[question]: ray.get(question) for question in answered}


def large_enough(cluster: Cluster, alive: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nodes that are large enough for some strategy, by name.

    Args:
        cluster: what its strategies take.
        alive: Ray's description of each node, by name.

    Raises:
        UserError: a strategy fits on none.
    """
    usable: dict[str, Any] = {}
    for strategy, processes in cluster.processes.items():
        takes = cluster.takes(strategy)
        fitting = {name: info for name, info in alive.items() if _fits(takes, info)}
        if not fitting and strategy in cluster.on_gpu:
            raise UserError(
                f"{strategy} is trained by {processes} processes, each on a GPU of one node, but no node of the Ray "
                f"cluster has more than {_most('GPU', alive)} GPUs: set its 'processes' to that or less"
            )
        if not fitting:
            most = _most("CPU", alive)
            raise UserError(
                f"{strategy} is trained with {takes['CPU']} threads, as in this process, but no node of the Ray "
                f"cluster has more than {most} CPUs: set OMP_NUM_THREADS, and its 'processes', to "
                f"{max(1, most)} or less"
            )
        usable |= fitting
    return usable


def _most(resource: str, alive: Mapping[str, Any]) -> int:
    return int(max((info["Resources"].get(resource, 0) for info in alive.values()), default=0))


def _fits(takes: Mapping[str, int], info: Mapping[str, Any]) -> bool:
    return all(info["Resources"].get(resource, 0) >= amount for resource, amount in takes.items())


def refuse_what_lacks(answers: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise for nodes that can't work.

    Args:
        answers: what each node answered.

    Raises:
        UserError: names the first, what it lacks, and what to do.
    """
    from tasks import tracking

    for name, answer in answers.items():
        if "wrong" in answer:
            raise UserError(f"the node {name} {answer['wrong']}")
        if tracking.is_file() and answer["kernel"] != node.kernel():
            raise UserError(
                f"the node {name} is another machine, where MLflow's store {tracking.shown_uri()} can't be written "
                "safely: run 'mlflow server' on an address that all nodes reach, and set MLFLOW_TRACKING_URI to it"
            )


def remarks(by_node: Mapping[str, Mapping[str, Any]], here: Mapping[str, Any]) -> list[str]:
    """Return in sentences what tells nodes from this process that may change the last digits of a result.

    Args:
        by_node: facts of nodes that do the same work.
        here: those of this process.

    Raises:
        UserError: nodes have other versions than this process, or train in another way than each other.
    """
    first = next(iter(by_node), "")
    for name, facts in by_node.items():
        for package in sorted({**here["versions"], **facts["versions"]}):
            there, ours = (versions.get(package, "none") for versions in (facts["versions"], here["versions"]))
            if there != ours:
                raise UserError(
                    f"the node {name} has {package} {there}, and this process {ours}: install the same environment "
                    "there"
                )
        if facts["trains_on"] != by_node[first]["trains_on"]:
            raise UserError(
                f"the node {name} would train on {facts['trains_on']}, and the node {first} on "
                f"{by_node[first]['trains_on']}: set train.device and train.precision in params.yaml to what both have"
            )
    processors = {f"{facts['machine']} ({facts['trains_on']})" for facts in (here, *by_node.values())}
    if not by_node or len(processors) == 1:
        return []
    return [f"results may differ in their last digits by where they were made: {', '.join(sorted(processors))}"]
