"""Images a second that MobileNetV2 answers: as the version of the project in reach chooses, and as PyTorch comes.

Run as a file, so that the version may be an older one: ``PYTHONPATH=CHECKOUT python -P forward.py``. Prints a line of
JSON: ``chosen``, ``eager_bfloat16``, ``eager_float32`` for batches, the same with ``one_`` before for single images,
and ``engine``, what was chosen.
"""

import copy
import json
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torchvision.models import mobilenet_v2

from tasks.training.device import keep_freed_memory

SECONDS_A_TURN = 1.0
Answers = Callable[[torch.Tensor], torch.Tensor]


def main(
    side: Annotated[int, typer.Option(help="Height and width in pixels.")] = 288,
    batch: Annotated[int, typer.Option(help="Images at once.")] = 16,
    turns: Annotated[int, typer.Option(help="Of each way, of which the median counts; one more doesn't count.")] = 5,
) -> None:
    """Measure in turns, and print the figures."""
    keep_freed_memory()
    torch.manual_seed(0)
    model = mobilenet_v2(weights=None).eval().requires_grad_(requires_grad=False)
    figures: dict[str, float | str] = {}
    with ExitStack() as stack:
        figures["engine"], chosen = choose(model, side, stack)  # which may train a few steps to find out
        stack.enter_context(torch.inference_mode())
        ways = {"chosen": chosen, "eager_bfloat16": eager(model, True), "eager_float32": eager(model, False)}
        for prefix, count in (("", batch), ("one_", 1)):
            images = torch.randn(count, 3, side, side).contiguous(memory_format=torch.channels_last)
            seconds = in_turns({name: partial(way, images) for name, way in ways.items()}, turns)
            figures |= {f"{prefix}{name}": count / found for name, found in seconds.items()}
    print(json.dumps(figures))


def choose(model: torch.nn.Module, side: int, stack: ExitStack) -> tuple[str, Answers]:
    """Return what the version in reach answers by, in words, and a copy of the network that answers so.

    Args:
        model: the network.
        side: height and width of the images in pixels.
        stack: keeps BatchNorm folded until it is closed.
    """
    from tasks.params import StrategyParams
    from tasks.training import device
    from tasks.training.folding import folded

    settings = StrategyParams.model_validate({"train": "all", "lr": 0.1, "epochs": 1, "device": "cpu"})
    network = copy.deepcopy(model).to(memory_format=torch.channels_last)
    stack.enter_context(folded(network))
    if not Path(device.__file__).with_name("choosing.py").is_file():  # which another version that is installed may have
        bfloat16 = device.choose(settings).bfloat16
        return f"eager {'bfloat16' if bfloat16 else 'float32'}", eager(network, bfloat16)
    choosing: Any = import_module("tasks.training.choosing")
    hardware = choosing.hardware_before("mobilenet_v2", lambda: network, settings, side, 3)
    return str(hardware.way), hardware.answering(network)


def eager(model: torch.nn.Module, bfloat16: bool) -> Answers:
    """Return PyTorch's own way, in a precision, the images' channels last."""
    last = model.to(memory_format=torch.channels_last)

    def answers(images: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            found: torch.Tensor = last(images)
        return found

    return answers


def in_turns(ways: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Return the median seconds of one call of each way, in turns of about a second each; the first doesn't count."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, way in ways.items():
            calls, started = 0, time.monotonic()
            while (passed := time.monotonic() - started) < SECONDS_A_TURN or not calls:
                way()
                calls += 1
            if turn:
                found[name].append(passed / calls)
    return {name: statistics.median(seconds) for name, seconds in found.items()}


if __name__ == "__main__":
    typer.run(main)
