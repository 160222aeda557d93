"""A Ray cluster of two nodes on this machine."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# Two nodes of a CPU each, on loopback, until the standard input ends.
NODES = """
import sys
from ray.cluster_utils import Cluster
one = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 80 * 2**20, "temp_dir": sys.argv[1]}
cluster = Cluster(initialize_head=True, head_node_args={**one, "include_dashboard": False})
cluster.add_node(**one)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}


@contextmanager
def two_nodes() -> Iterator[str]:
    """Keep a cluster of two nodes of a CPU each running; yield its address."""
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:  # short: sockets lie in it
        nodes = subprocess.Popen(
            [sys.executable, "-c", NODES, f"{folder}/ray"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | ON_LOOPBACK | {"RAY_TMPDIR": folder},  # where its address is written, too
        )  # fmt: skip
        assert nodes.stdin is not None
        assert nodes.stdout is not None
        try:
            yield nodes.stdout.readline().strip()
        finally:
            nodes.stdin.close()
            nodes.wait(60)
