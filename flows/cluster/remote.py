"""Functions of ``flows.cluster.node`` as Ray runs them: sent as code, on a certain node, and stopped in order."""

from collections.abc import Callable
from typing import Any

from flows.cluster import node
from tasks import stopping
from tasks.errors import one_line

SECONDS_TO_STOP, SECONDS_TO_DIE = 6.0, 2.0


def as_remote(function: Callable[..., Any], **options: Any) -> Any:
    """Return a function of ``flows.cluster.node`` for Ray to send as code: a node may not have this repository.

    Args:
        function: the function.
        options: of ``ray.remote``, such as what it takes of a node.
    """
    import ray
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(node)
    return ray.remote(**options)(function)


def only_on(node_id: str) -> Any:
    """Return the option ``scheduling_strategy`` for work that a certain node has to do."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id, soft=False)


def stop(work: Any) -> None:
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


def short(error: Exception) -> str:
    """Return what an error of Ray says, on one line, as far as a sentence can take it."""
    return one_line(error, 300).rstrip(".")
