"""The sections of the benchmark of a GPU, each a process: ``python -m tests.benchmarks.gpu.sections NAME``.

Each prints a line of JSON for whatever it finds, at once: if its time runs out, that is kept.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console

from tests.benchmarks.gpu.steps import CLASSES, MIB, Figures, Setting, seconds_a_call, step, stores, ways

ROOT = Path(__file__).parents[3]
TESTED = ("tests/tasks/training/test_cuda.py", "tests/tasks/training", "tests/tasks/strategies")
OUTCOME = re.compile(r"(\d+) (passed|failed|skipped|error)")


def loop(setting: Setting) -> Iterator[Figures]:
    """Yield images a second of the project's own training of every weight, validation and checkpoints and all."""
    from tasks.backbones import catalogue
    from tasks.data.augmentation import Augmentation
    from tasks.params import AugmentParams, StrategyParams
    from tasks.strategies import assembly, planning
    from tasks.training import device
    from tasks.training.batches import Split
    from tasks.training.job import TrainingJob
    from tasks.training.loop import fit
    from tasks.training.progress import Reporter

    epochs = 3
    settings = StrategyParams.model_validate(
        {"train": "all", "lr": 1e-4, "epochs": epochs, "batch_size": setting.batch, "device": setting.device}
    )
    store = np.random.default_rng(0).integers(0, 256, (setting.images, setting.side, setting.side, 3), np.uint8)
    rows, targets = np.arange(setting.images), torch.arange(setting.images) % CLASSES
    held_out = max(setting.batch, setting.images // 8)
    train, val = (Split(store, rows[some], targets[some]) for some in (slice(None), slice(held_out)))
    adapted, groups = assembly.assemble(catalogue.find(setting.network), None, setting.side, CLASSES, 3, settings)
    with tempfile.TemporaryDirectory() as folder:
        plan, augment = planning.plan(settings, groups, adapted.new), Augmentation(AugmentParams(), upright=True)
        job = TrainingJob(
            settings, plan, train, val, augment,
            device.choose(settings), Path(folder, "checkpoint.safetensors"),
        )  # fmt: skip
        ends = [time.monotonic()]
        progress = fit(adapted, job, Reporter("gpu", Console(quiet=True)), lambda _: ends.append(time.monotonic()))
    seconds = [later - earlier for earlier, later in pairwise(ends)]
    yield {"thawline_images_a_second": setting.images / min(seconds[1:]), "thawline_peak_mib": progress.peak_memory_mib}
    bare = seconds_a_call(step(setting, bfloat16=True, last=True), setting)
    yield {"bare_images_a_second": setting.batch / bare}


def pair(setting: Setting) -> Iterator[Figures]:
    """Yield images a second of one fine-tuning alone, and of two side by side on the one device, together."""
    for name, count in (("alone", 1), ("two", 2)):
        processes = [
            subprocess.Popen(_command("loop", setting), stdout=subprocess.PIPE, text=True, cwd=ROOT)
            for _ in range(count)
        ]
        printed = [process.communicate()[0] for process in processes]
        found = [json.loads(line) for text in printed for line in text.splitlines() if line.startswith('{"thawline')]
        yield {f"{name}_images_a_second": sum(figures["thawline_images_a_second"] for figures in found)}


def peers(setting: Setting) -> Iterator[Figures]:
    """Yield images a second of fastai's and timm's own training steps, where they are installed."""
    if find_spec("timm"):
        yield {"timm_images_a_second": setting.batch / seconds_a_call(_timm_step(setting), setting)}
    if find_spec("fastai"):
        yield {"fastai_images_a_second": _fastai(setting)}


def tests(setting: Setting) -> Iterator[Figures]:
    """Yield how many tests of training pass on this device: those for CUDA first, then all that take what they find."""
    for place, names in enumerate((TESTED[:1], TESTED[1:] if setting.device == "cuda" else ())):
        if not names:
            continue
        workers = "0" if place == 0 else "8"
        command = [sys.executable, "-m", "pytest", "-q", "-n", workers, *names]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        prefix = ("cuda_tests", "training_tests")[place]
        counts = {f"{prefix}_{what}": int(count) for count, what in OUTCOME.findall(done.stdout.splitlines()[-1])}
        failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.M)
        yield counts | ({f"{prefix}_names": failed} if failed else {}) | {f"{prefix}_status": done.returncode}


def _timm_step(setting: Setting) -> Callable[[], None]:
    """Return a step as timm's train.py takes it with ``--amp --amp-dtype bfloat16 --channels-last``."""
    timm, losses, optimizers = (import_module(name) for name in ("timm", "timm.loss", "timm.optim"))
    name = "mobilenetv2_100" if setting.network == "mobilenet_v2" else "mobilenetv3_small_050"
    model = timm.create_model(name, num_classes=CLASSES).to(setting.device, memory_format=torch.channels_last).train()
    optimizer = optimizers.create_optimizer_v2(model, opt="adamw", lr=1e-4)
    loss_of = losses.LabelSmoothingCrossEntropy()
    images, targets = (tensor.to(setting.device) for tensor in setting.batch_of_images())
    images = images.contiguous(memory_format=torch.channels_last)

    def take() -> None:
        with torch.autocast(setting.device, torch.bfloat16):
            loss = loss_of(model(images), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return take


def _fastai(setting: Setting) -> float:
    """Return images a second of a fastai learner in mixed precision, over batches that lie on the device."""
    from fastai.callback.core import Callback
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner

    ends: list[float] = []

    class Clock(Callback):  # type: ignore[misc]
        """When each epoch's training began and ended."""

        def before_train(self) -> None:
            ends.append(time.monotonic())

        def after_train(self) -> None:
            if setting.device == "cuda":
                torch.cuda.synchronize()
            ends.append(time.monotonic())

    batch = tuple(tensor.to(setting.device) for tensor in setting.batch_of_images())
    loaders = DataLoaders([batch] * setting.steps, [batch], device=torch.device(setting.device))
    learner = Learner(loaders, setting.model(), loss_func=torch.nn.CrossEntropyLoss(), cbs=[Clock()])
    if setting.device == "cuda":
        learner = learner.to_fp16()
    with learner.no_bar(), learner.no_logging():
        learner.fit(2)
    return setting.batch * setting.steps / (ends[3] - ends[2])


def _command(name: str, setting: Setting) -> list[str]:
    tiny = ["--tiny"] if setting == Setting.tiny(setting.device) else []
    return [sys.executable, "-m", "tests.benchmarks.gpu.sections", name, "--device", setting.device, *tiny]


SECTIONS: dict[str, Callable[[Setting], Iterator[Figures]]] = {
    "steps": ways, "loop": loop, "pair": pair, "store": stores, "peers": peers, "tests": tests,
}  # fmt: skip


def main(
    name: Annotated[str, typer.Argument(help="A section.")],
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
    tiny: Annotated[bool, typer.Option("--tiny", help="Few steps of a small network.")] = False,
) -> None:
    """Run a section; print what it finds, a line of JSON each."""
    setting = Setting.tiny(device) if tiny else Setting(device)
    for figures in SECTIONS[name](setting):
        print(json.dumps(figures), flush=True)
    if device == "cuda":
        print(json.dumps({"peak_mib": torch.cuda.max_memory_allocated() / MIB}), flush=True)


if __name__ == "__main__":
    typer.run(main)
