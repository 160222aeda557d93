"""What runs on a node of a Ray cluster.

These functions are sent there as code, and import what is in the repository only once they are in it: a node that
lacks something can say so. Whatever they are given and return is plain data.
"""

import os
import platform
import socket
import sys
from pathlib import Path
from typing import Any

PASSED_ON = ("MLFLOW_", "THAWLINE_", "AWS_", "GOOGLE_", "AZURE_")  # of the environment: where runs are tracked, and how
STOPPED = "stopped"
SHUT_DOWN = 143  # the exit status of a process that SIGTERM ends, as a node that is shut down sends its workers


def settings() -> dict[str, str]:
    """Return what of this process's environment its work on a node needs."""
    return {key: value for key, value in os.environ.items() if key.startswith(PASSED_ON)}


def kernel() -> str:
    """Return what tells a machine from others, also from itself before it was started again."""
    started = Path("/proc/sys/kernel/random/boot_id")
    return started.read_text(encoding="ascii").strip() if started.is_file() else socket.gethostname()


def facts() -> dict[str, Any]:
    """Return what results depend on, as it is here: ``versions`` by name, ``trains_on`` and ``machine`` in words.

    What is measured with the network, the precision of ``auto`` on a processor, is not known yet.
    """
    import torch

    from tasks.params import load_params
    from tasks.runs.metadata import made_with
    from tasks.training import device

    params = load_params()
    made, hardware = made_with(params), device.choose(params.train)
    on_gpu = hardware.device.type == "cuda"
    is_known = params.train.precision != "auto" or not device.is_measured(params.train)
    processor = torch.cuda.get_device_name() if on_gpu else torch.backends.cpu.get_cpu_capability()
    return {
        "versions": {"Python": made.python, "code (SHA-256)": made.code_sha256[:12], **made.packages},
        "trains_on": f"a {'GPU' if on_gpu else 'CPU'}{f' in {hardware.precision}' if is_known else ''}",
        "machine": f"{platform.machine()} {processor}",
    }


def inspect(root: str, environment: dict[str, str], threads: int) -> dict[str, Any]:
    """Return ``kernel``, which tells one machine from another, and ``facts``, or else what is ``wrong`` here.

    Args:
        root: folder of the repository.
        environment: the settings of the process that this is done for.
        threads: of torch.
    """
    answer: dict[str, Any] = {"kernel": kernel()}
    try:
        enter(root, environment, threads)
        from tasks import tracking
        from tasks.errors import UserError
    except OSError:
        return answer | {"wrong": f"does not see {root}: mount the repository there at the same path"}
    except ImportError as error:
        return answer | {"wrong": f"lacks the package {error.name}: install the same environment there"}
    if not tracking.is_file() and not tracking.is_reached():
        address = tracking.shown_uri()
        wrong = f"does not reach MLflow's store {address}: set MLFLOW_TRACKING_URI to an address that all nodes reach"
        return answer | {"wrong": wrong}
    try:
        return answer | {"facts": facts()}
    except UserError as error:
        return answer | {"wrong": f"can't work: {error}"}


def fine_tune(root: str, environment: dict[str, str], threads: int, strategy: str) -> str:
    """Fine-tune by a strategy, from where an attempt that died has got to; return an empty text, or what went wrong."""
    enter(root, environment, threads)
    from tasks import stopping
    from tasks.errors import UserError
    from tasks.steps import finetune

    try:
        with stopping.by_signals():  # Ray cancels by one, too
            finetune.fine_tunings(strategy)
    except UserError as error:
        return str(error)
    except stopping.InterruptedRun as ended:
        if ended.status == SHUT_DOWN:
            os._exit(ended.status)  # so that Ray lets another node go on
        return STOPPED
    return ""


def enter(root: str, environment: dict[str, str], threads: int) -> None:
    """Make this process one that works in the repository, with the settings of the one that it works for.

    Raises:
        OSError: the repository is not there.
    """
    import ray

    os.chdir(root)
    if not Path("tasks", "steps").is_dir():
        raise FileNotFoundError(root)
    if root not in sys.path:
        sys.path.insert(0, root)
    for key in [key for key in os.environ if key.startswith(PASSED_ON)]:
        del os.environ[key]
    node = ray.get_runtime_context().get_node_id()
    os.environ |= {
        **environment,
        "OMP_NUM_THREADS": str(threads),
        "THAWLINE_NODE": f"{socket.gethostname()} ({node[:8]})",
    }
    import torch

    torch.set_num_threads(threads)
