"""What a strategy takes of a cluster's nodes, and its fine-tuning on one that is free."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from flows.cluster import node, remote
from tasks import stopping
from tasks.errors import UserError

RETRIES = 3  # of a strategy whose worker or node died
SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to, and whose nodes were inspected.

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
        fine_tune = remote.as_remote(
            node.fine_tune, name=strategy, num_cpus=takes["CPU"], num_gpus=takes["GPU"], max_retries=RETRIES
        )
        work = fine_tune.remote(self.root, self.environment, self.threads, strategy)
        while not ray.wait([work], timeout=SECONDS_BETWEEN_LOOKS)[0]:
            if stopping.is_asked():
                remote.stop(work)
        stopping.check()
        try:
            failure = ray.get(work)
        except RayTaskError:
            raise
        except RayError as error:
            raise UserError(
                f"{strategy}: its workers on the Ray cluster died {RETRIES + 1} times ({remote.short(error)}): look at "
                "the nodes' memory and at their /tmp/ray/session_latest/logs, and run the same command again"
            ) from error
        if failure:
            raise UserError(failure)
