"""Joining the cluster that ``run.ray`` names."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flows.cluster.cluster import Cluster
from flows.cluster.inspection import Say, inspect_nodes
from flows.cluster.remote import short
from tasks.errors import UserError
from tasks.params import Params

CLIENT, LOOPBACK = "ray://", {"127.0.0.1", "localhost", "[::1]"}
CURRENT = Path("/tmp/ray/ray_current_cluster")  # noqa: S108 - where 'ray start' says its address
STORE_BYTES = 100 * 2**20  # of a local cluster's own store, which nothing large passes through
SECONDS_TO_CONNECT = 10.0


@contextmanager
def connected(params: Params, say: Say) -> Iterator[Cluster | None]:
    """Yield the cluster that params name, its nodes inspected; nothing where they name none.

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
        yield inspect_nodes(params, say)
    finally:
        ray.shutdown()


def _join(requested: str) -> None:
    """Connect this process to a cluster; of one that is only on the loopback interface, or local, stay on it.

    Raises:
        UserError: there is none, or it is made with other versions.
    """
    address = _started_here() if requested == "auto" else requested
    options: dict[str, Any] = {"logging_level": "error"}
    if address == "local":
        options |= {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    else:
        _knock(requested, address)
    if address.rpartition(":")[0] in {"", *LOOPBACK}:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # else Ray takes the machine's own address for it
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # which would leave out lines that two strategies share
    import ray

    try:
        ray.init(address, **options)
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        raise UserError(f"{_named(requested)} can't be joined ({short(error)}): {_remedy(requested)}") from error


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
        raise UserError(f"{_named('auto')} is not there: {_remedy('auto')}") from error


def _knock(requested: str, address: str) -> None:
    """Ask for a connection once, for which Ray would ask for minutes.

    Raises:
        UserError: there is none.
    """
    host, _, port = address.removeprefix(CLIENT).rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_CONNECT).close()
    except (OSError, ValueError) as error:
        raise UserError(f"{_named(requested)} can't be reached at {address} ({error}): {_remedy(requested)}") from error


def _named(address: str) -> str:
    return "Ray's cluster of this machine" if address in {"auto", "local"} else f"the Ray cluster at {address}"


def _remedy(address: str) -> str:
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
