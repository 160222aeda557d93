"""A Ray cluster over which the strategies are spread.

Only the fine-tunings run on nodes, as plain functions of Ray: Prefect and DVC stay in the process that was started, so
that a node needs no Prefect server, and DVC has one writer.
"""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flows import nodes
from tasks import stopping
from tasks.errors import UserError, listed
from tasks.params import Params

CLIENT, LOOPBACK = "ray://", {"127.0.0.1", "localhost", "[::1]"}
CURRENT = Path("/tmp/ray/ray_current_cluster")  # noqa: S108 - where 'ray start' says its address
STORE_BYTES = 100 * 2**20  # of a local cluster's own store, which nothing large passes through
A_LOOK = 0.01  # of a GPU, which Ray shows only to those that take some
RETRIES = 3  # of a strategy whose worker or node died
SECONDS_TO_CONNECT, SECONDS_TO_ANSWER = 10.0, 180.0
SECONDS_BETWEEN_LOOKS, SECONDS_TO_STOP, SECONDS_TO_DIE = 0.5, 6.0, 2.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to, and whose nodes were looked at.

    Attributes:
        root: folder of the repository, on every node.
        threads: of torch, as in this process.
        processes: that train a strategy together, each on a GPU or on its part of the threads.
        on_gpu: strategies that take GPUs; the others take a CPU a thread.
        environment: settings that the work needs.
    """

    root: str
    threads: int
    processes: Mapping[str, int]
    on_gpu: frozenset[str]
    environment: dict[str, str] = field(repr=False)

    def takes(self, strategy: str) -> dict[str, int]:
        """Return what a strategy takes of a node."""
        processes = self.processes[strategy]
        if strategy in self.on_gpu:
            return {"CPU": 0, "GPU": processes}
        return {"CPU": max(self.threads, processes), "GPU": 0}

    def fine_tune(self, strategy: str) -> None:
        """Fine-tune by a strategy on a node that is free, and wait for it.

        Raises:
            UserError: it failed, or its workers died too often.
            StoppedError: this process is asked to stop; so was the work on the node.
        """
        import ray
        from ray.exceptions import RayError, RayTaskError

        takes = self.takes(strategy)
        work = _remote(
            nodes.fine_tune, name=strategy, num_cpus=takes["CPU"], num_gpus=takes["GPU"], max_retries=RETRIES
        ).remote(self.root, self.environment, self.threads, strategy)
        while not ray.wait([work], timeout=SECONDS_BETWEEN_LOOKS)[0]:
            if stopping.is_asked():
                _stop(work)
        stopping.check()
        try:
            wrong = ray.get(work)
        except RayTaskError:
            raise
        except RayError as error:
            raise UserError(
                f"{strategy}: its workers on the Ray cluster died {RETRIES + 1} times ({_short(error)}): look at the "
                "nodes' memory and at their /tmp/ray/session_latest/logs, and run the same command again"
            ) from error
        if wrong:
            raise UserError(wrong)


@contextmanager
def connected(params: Params, say: Say) -> Iterator[Cluster | None]:
    """Yield the cluster that params name, its nodes looked at; nothing where they name none.

    Raises:
        UserError: it can't be joined, or a node lacks what the work needs.
    """
    address = params.run.ray
    if not address:
        yield None
        return
    if not find_spec("ray"):
        raise UserError("params.yaml: run.ray needs Ray: pip install -e '.[ray]' -c constraints.txt")
    with _sigterm_as_before():
        _join(address)
    import ray

    try:
        yield _looked_at(params, say)
    finally:
        ray.shutdown()


def _join(asked: str) -> None:
    """Connect this process to a cluster; of one that is only on the loopback interface, or local, stay on it.

    Raises:
        UserError: there is none, or it is made with other versions.
    """
    address = _started_here() if asked == "auto" else asked
    options: dict[str, Any] = {"logging_level": "error"}
    if address == "local":
        options |= {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    else:
        _knock(asked, address)
    if address.rpartition(":")[0] in {"", *LOOPBACK}:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # else Ray takes the machine's own address for it
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # which would leave out lines that two strategies share
    import ray

    try:
        ray.init(address, **options)
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        raise UserError(f"{_named(asked)} can't be joined ({_short(error)}): {_cure(asked)}") from error


def _started_here() -> str:
    """Return the address of the cluster that this machine belongs to, as Ray finds it.

    Raises:
        UserError: there is none.
    """
    if address := os.environ.get("RAY_ADDRESS"):
        return address
    try:
        return CURRENT.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UserError(f"{_named('auto')} is not there: {_cure('auto')}") from error


def _knock(asked: str, address: str) -> None:
    """Ask for a connection once, for which Ray would ask for minutes.

    Raises:
        UserError: there is none.
    """
    host, _, port = address.removeprefix(CLIENT).rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_CONNECT).close()
    except (OSError, ValueError) as error:
        raise UserError(f"{_named(asked)} can't be reached at {address} ({error}): {_cure(asked)}") from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")


def _named(address: str) -> str:
    return "Ray's cluster of this machine" if address in {"auto", "local"} else f"the Ray cluster at {address}"


def _cure(address: str) -> str:
    if address == "local":
        return "look at /tmp/ray/session_latest/logs, or leave run.ray out of params.yaml"
    if address.startswith(CLIENT):
        return "run 'ray start --head' there, or mend run.ray in params.yaml"
    of = "" if address == "auto" else f"={address}"
    return (
        f"run 'ray start --head' on one machine and 'ray start --address{of or '=HOST:6379'}' on the others, this one "
        "among them, or mend run.ray in params.yaml (ray://HOST:10001 joins from any machine, local starts a cluster "
        "on this one)"
    )


def _looked_at(params: Params, say: Say) -> Cluster:
    """Return the cluster when every node that may be used has answered what this process would.

    Raises:
        UserError: no node has what a strategy takes, or one of them lacks something.
    """
    import ray
    import torch

    from tasks import tracking

    tracking.experiment_id()  # makes a new store, which only one process may
    alive = {f"{node['NodeManagerHostname']} ({node['NodeID'][:8]})": node for node in ray.nodes() if node["Alive"]}
    has_gpus = any(_fits({"GPU": 1}, node) for node in alive.values())
    on_gpu = frozenset(name for name, own in params.strategies.items() if has_gpus and own.device != "cpu")
    processes = {name: own.processes for name, own in params.strategies.items()}
    cluster = Cluster(str(Path.cwd()), torch.get_num_threads(), processes, on_gpu, nodes.settings())
    usable = large_enough(cluster, alive)
    say(f"the strategies are spread over Ray's {listed(list(usable))}")
    with_gpu = {name for name, node in usable.items() if on_gpu and _fits({"GPU": 1}, node)}
    asked = {
        _remote(
            nodes.look, num_cpus=0, num_gpus=A_LOOK if name in with_gpu else 0,
            scheduling_strategy=_only_on(node["NodeID"]),
        ).remote(cluster.root, cluster.environment, cluster.threads): name
        for name, node in usable.items()
    }  # fmt: skip
    here = nodes.facts()
    answered, late = ray.wait(list(asked), num_returns=len(asked), timeout=SECONDS_TO_ANSWER)
    if late:
        raise UserError(
            f"the node {asked[late[0]]} gave no answer within {SECONDS_TO_ANSWER:.0f} s: wait until it is free, or "
            "restart Ray there"
        )
    seen = {asked[one]: ray.get(one) for one in answered}
    refuse_what_lacks(seen)
    for alike in (with_gpu, usable.keys() - with_gpu):
        for line in remarks({name: seen[name]["facts"] for name in usable if name in alike}, here):
            say(line)
    return cluster


def large_enough(cluster: Cluster, alive: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nodes that are large enough for some strategy, by name.

    Args:
        cluster: what its strategies take.
        alive: Ray's description of each node, by name.

    Raises:
        UserError: a strategy fits on none.
    """
    found: dict[str, Any] = {}
    for strategy, processes in cluster.processes.items():
        takes = cluster.takes(strategy)
        fitting = {name: node for name, node in alive.items() if _fits(takes, node)}
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
        found |= fitting
    return found


def _most(what: str, alive: Mapping[str, Any]) -> int:
    return int(max((node["Resources"].get(what, 0) for node in alive.values()), default=0))


def _fits(takes: Mapping[str, int], node: Mapping[str, Any]) -> bool:
    return all(node["Resources"].get(what, 0) >= many for what, many in takes.items())


def refuse_what_lacks(seen: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise for nodes that can't work.

    Args:
        seen: what each node answered.

    Raises:
        UserError: names the first, what it lacks, and what to do.
    """
    from tasks import tracking

    for name, answer in seen.items():
        if "wrong" in answer:
            raise UserError(f"the node {name} {answer['wrong']}")
        if tracking.is_file() and answer["kernel"] != nodes.kernel():
            raise UserError(
                f"the node {name} is another machine, where MLflow's store {tracking.shown_uri()} can't be written "
                "safely: run 'mlflow server' on an address that all nodes reach, and set MLFLOW_TRACKING_URI to it"
            )


def remarks(seen: Mapping[str, Mapping[str, Any]], here: Mapping[str, Any]) -> list[str]:
    """Return in sentences what tells nodes from this process that may change the last digits of a result.

    Args:
        seen: facts of nodes that do the same work.
        here: those of this process.

    Raises:
        UserError: nodes have other versions than this process, or train in another way than each other.
    """
    first = next(iter(seen), "")
    for name, facts in seen.items():
        for what in sorted({**here["versions"], **facts["versions"]}):
            there, ours = (versions.get(what, "none") for versions in (facts["versions"], here["versions"]))
            if there != ours:
                raise UserError(
                    f"the node {name} has {what} {there}, and this process {ours}: install the same environment there"
                )
        if facts["trains_on"] != seen[first]["trains_on"]:
            raise UserError(
                f"the node {name} would train on {facts['trains_on']}, and the node {first} on "
                f"{seen[first]['trains_on']}: set train.device and train.precision in params.yaml to what both have"
            )
    processors = {f"{facts['machine']} ({facts['trains_on']})" for facts in (here, *seen.values())}
    if not seen or len(processors) == 1:
        return []
    return [f"results may differ in their last digits by where they were made: {', '.join(sorted(processors))}"]


def _remote(function: Callable[..., Any], **options: Any) -> Any:
    """Return a function of ``flows.nodes`` for Ray to send as code: a node may not have this repository."""
    import ray
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(nodes)
    return ray.remote(**options)(function)


def _only_on(node: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


def _stop(work: Any) -> None:
    """Ask work on a node to end in order, and end it if it doesn't.

    Raises:
        StoppedError: always.
    """
    import ray

    ray.cancel(work)
    if not ray.wait([work], timeout=SECONDS_TO_STOP)[0]:
        ray.cancel(work, force=True)
        ray.wait([work], timeout=SECONDS_TO_DIE)
    raise stopping.StoppedError(stopping.STOPPED)


@contextmanager
def _sigterm_as_before() -> Iterator[None]:
    """Keep the handler of SIGTERM, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
