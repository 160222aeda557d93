"""What Thawline does, and the bare limits that it is held against; each is run in a process of its own.

The working folder is a project after ``dvc repro prepare backbone``.
"""

import itertools
import json
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import typer
from rich.console import Console
from sklearn.metrics import balanced_accuracy_score
from torch.nn.grad import conv2d_input

from tasks import layout
from tasks.data.augmentation import Augmentation
from tasks.evaluation import metrics
from tasks.params import StrategyParams, load_params
from tasks.runs.fine_tuning import FineTuning
from tasks.runs.networks import hardware_of, network, probabilities_of
from tasks.runs.prepared import PreparedData
from tasks.strategies import freezing
from tasks.strategies.thaw_line import names_that_train
from tasks.training import device
from tasks.training.averaged_fits import Trained
from tasks.training.batches import INFERENCE_BATCH, Split, training_batches
from tasks.training.depthwise import by_input, faster_gradients
from tasks.training.device import watch_memory
from tasks.training.feature_cache import CachedFeatures
from tasks.training.folding import folded
from tasks.training.frozen_trunk import frozen_trunk
from tasks.training.gradients import Gradients
from tasks.training.inference import to_device
from tasks.training.job import TrainingJob
from tasks.training.loop import fit
from tasks.training.optim import build
from tasks.training.progress import Reporter
from tasks.training.views import Views

app = typer.Typer(add_completion=False)
QUIET = Reporter("benchmark", Console(quiet=True))


@app.command()
def strategies(names: list[str]) -> None:
    """Train strategies one after the other and test each, with nothing kept from before."""
    shutil.rmtree(layout.WORK / "activations", ignore_errors=True)
    params, started = load_params(), time.monotonic()
    data, figures = PreparedData.read(), {}
    with watch_memory(torch.device("cpu")) as peak:
        for name in names:
            settings, before = params.strategy(name), time.monotonic()
            trained = _trained(FineTuning(name, params, settings, data, work=layout.WORK / "benchmark", reporter=QUIET))
            test = data.split("test")
            answers = probabilities_of(trained.adapted, test, settings).argmax(1)
            figures[f"{name} seconds"] = time.monotonic() - before
            figures[f"{name} balanced_accuracy"] = balanced_accuracy_score(test.targets.numpy(), answers)
    best = max(value for key, value in figures.items() if key.endswith("balanced_accuracy"))
    _say(seconds=time.monotonic() - started, balanced_accuracy=best, peak_mib=peak.mib, **figures)


@app.command()
def steps(rounds: int = 5, count: int = 20) -> None:
    """Images a second of training ``full``: from the store of pixels, and the bare step on resident tensors."""
    settings, data, hardware = _start("full")
    adapted, plan = network(settings, data)
    model = adapted.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = build(model, plan, settings)
    for group in optimizer.param_groups:
        group["lr"] = 1e-4
    freezing.apply(plan, model, 0, update_statistics=settings.updates_statistics)
    split, augment = data.split("train"), Augmentation(load_params().augment, upright=False)
    gradients = Gradients(adapted, settings, hardware, split)
    size = settings.batch_size
    resident = [
        (to_device(adapted, batch.inputs, hardware), batch.targets)
        for _, batch in zip(range(count), training_batches(split, size, augment, 0, 0), strict=False)
    ]

    def bare() -> None:
        for inputs, targets in resident:
            with hardware.autocast():
                loss = torch.nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    def ours() -> None:
        with faster_gradients(model, hardware):
            train()

    def train() -> None:
        for _, batch in zip(range(count), training_batches(split, size, augment, 0, 0), strict=False):
            gradients(model, to_device(adapted, batch.inputs, hardware), batch.targets)
            optimizer.step()
            optimizer.zero_grad()

    def epoch() -> None:
        """The loop itself, validation and checkpoints and all, of ``count`` steps."""
        some = replace(split, rows=split.rows[: count * size], targets=split.targets[: count * size])
        val = data.split("val")
        val = replace(val, rows=val.rows[:INFERENCE_BATCH], targets=val.targets[:INFERENCE_BATCH])
        for_one = settings.model_copy(update={"epochs": 1})
        made = network(for_one, data)
        checkpoint = layout.WORK / "benchmark.safetensors"
        checkpoint.unlink(missing_ok=True)
        fit(
            made.adapted,
            TrainingJob(for_one, made.plan, some, val, augment, hardware, checkpoint),
            QUIET,
            lambda _: None,
        )

    times = _interleaved({"bare": bare, "ours": ours, "epoch": epoch}, rounds)
    _say(**{f"{name}_images_a_second": count * size / seconds for name, seconds in times.items()})


@app.command()
def filler(rounds: int = 5, count: int = 320) -> None:
    """Images a second of filling a store with what reaches the head, and of the bare forward pass."""
    settings, data, hardware = _start("head_only")
    adapted, plan = network(settings, data)
    model = adapted.model.to(memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
    split = data.split("train")
    split = replace(split, rows=split.rows[:count], targets=split.targets[:count])
    nothing = replace(split, rows=split.rows[:0], targets=split.targets[:0])
    augment, cache = Augmentation(load_params().augment, upright=False), data.cache(settings)
    resident = [
        to_device(adapted, split.images(np.arange(at, min(at + INFERENCE_BATCH, count))), hardware)
        for at in range(0, count, INFERENCE_BATCH)
    ]
    with folded(model):
        frozen = frozen_trunk(adapted, names_that_train(plan, 0), data.size, data.channels, hardware)
        if frozen is None or cache is None:
            raise TypeError("the network has no frozen beginning")

        @torch.inference_mode()
        def bare() -> None:
            for images in resident:
                with hardware.autocast():
                    model(images)

        def ours() -> None:
            shutil.rmtree(cache.folder, ignore_errors=True)
            CachedFeatures(frozen, frozen, Views(split, augment, 0), nothing, cache, QUIET)

        times = _interleaved({"bare": bare, "ours": ours}, rounds)
    _say(**{f"{name}_images_a_second": count / seconds for name, seconds in times.items()})


@app.command()
def epochs() -> None:
    """Seconds of an epoch with the first three quarters of the stages frozen, from the second on: kept and not."""
    params = load_params()
    _, data, hardware = _start("full")
    augment = Augmentation(params.augment, upright=False)
    figures = {}
    for name in ("kept", "anew"):
        shutil.rmtree(layout.WORK / "activations", ignore_errors=True)
        settings = params.train.model_dump() | {"train": ["stages[4:]", "head"], "epochs": 4, "lr": 3e-4}
        settings = StrategyParams.model_validate(settings)
        made, ends = network(settings, data), [time.monotonic()]
        checkpoint = layout.WORK / "benchmark.safetensors"
        checkpoint.unlink(missing_ok=True)
        job = TrainingJob(
            settings, made.plan, data.split("train"), data.split("val"), augment, hardware, checkpoint,
            data.cache(settings) if name == "kept" else None,
        )  # fmt: skip
        fit(made.adapted, job, QUIET, lambda _, ends=ends: ends.append(time.monotonic()))
        figures[f"{name}_seconds"] = statistics.median(np.diff(ends)[1:])
        figures[f"{name}_first_seconds"] = float(np.diff(ends)[0])
    _say(**figures)


@app.command()
def copies(times: int) -> None:
    """Seconds and memory of ``head_only``, from stored images to test metrics, on every image so many times."""
    shutil.rmtree(layout.WORK / "activations", ignore_errors=True)
    settings, data, hardware = _start("head_only")
    many = layout.WORK / "copies.npy"
    store = np.lib.format.open_memmap(
        many, mode="w+", dtype=np.uint8, shape=(times * len(data.store), *data.store.shape[1:])
    )
    for at in range(times):
        store[at * len(data.store) : (at + 1) * len(data.store)] = data.store
    del store
    pixels = np.load(many, mmap_mode="r")

    def copied(name: str) -> Split:
        split = data.split(name)
        rows = np.concatenate([split.rows + at * len(data.store) for at in range(times)])
        return Split(pixels, rows, split.targets.repeat(times))

    augment = Augmentation(load_params().augment, upright=False)
    (layout.WORK / "benchmark.safetensors").unlink(missing_ok=True)
    started = time.monotonic()
    with watch_memory(torch.device("cpu")) as peak:
        made = network(settings, data)
        job = TrainingJob(
            settings, made.plan, copied("train"), copied("val"), augment, hardware,
            layout.WORK / "benchmark.safetensors", data.cache(settings),
        )  # fmt: skip
        fit(made.adapted, job, QUIET, lambda _: None)
        probabilities_of(made.adapted, copied("test"), settings)
    _say(seconds=time.monotonic() - started, peak_mib=peak.mib)
    many.unlink()


@app.command()
def precisions(strategy: str, seeds: int = 3) -> None:
    """Test metrics of a strategy in bfloat16 less those in float32, and how much seeds differ (standard deviation)."""
    params = load_params()
    data, test = PreparedData.read(), []
    for precision, seed in itertools.product(("bfloat16", "float32"), range(seeds)):
        settings = params.strategy(strategy).model_copy(update={"precision": precision, "seed": seed})
        trained = _trained(FineTuning(strategy, params, settings, data, work=layout.WORK / "benchmark", reporter=QUIET))
        split = data.split("test")
        test.append(metrics.scores(split.targets.numpy(), probabilities_of(trained.adapted, split, settings)))
    differences = {}
    for name in test[0]:
        values = np.array([float(scores[name] or np.nan) for scores in test]).reshape(2, seeds)
        lower, full = values.mean(axis=1)
        differences |= {f"{name} difference": lower - full, f"{name} spread": values.std(axis=1, ddof=1).max()}
    _say(**differences)


@app.command()
def depthwise(rounds: int = 5) -> None:
    """Milliseconds of a strided depthwise convolution's gradient by its input, 16 images of 96 x 112 x 112."""
    device.keep_freed_memory()
    weight, slope = torch.randn(96, 1, 3, 3, dtype=torch.bfloat16), torch.randn(16, 96, 56, 56, dtype=torch.bfloat16)
    slope = slope.contiguous(memory_format=torch.channels_last)
    how: tuple[Any, ...] = ((2, 2), (1, 1), (1, 1), 96)
    ways = {"pytorch": conv2d_input, "ours": lambda shape, w, s, *how: by_input(s, w, shape, *how)}
    times = _interleaved(
        {name: partial(way, (16, 96, 112, 112), weight, slope, *how) for name, way in ways.items()}, rounds
    )
    _say(**{f"{name}_milliseconds": 1000 * seconds for name, seconds in times.items()})


def _trained(fine_tuning: FineTuning) -> Trained:
    fine_tuning.checkpoint.unlink(missing_ok=True)
    return fine_tuning.train(lambda _: None)


def _start(strategy: str) -> tuple[StrategyParams, PreparedData, device.Hardware]:
    device.keep_freed_memory()
    settings, data = load_params().strategy(strategy), PreparedData.read()
    return settings, data, hardware_of(settings, data)


def _interleaved(ways: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each way, after one go at each that doesn't count."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            started = time.monotonic()
            way()
            if turn:
                times[name].append(time.monotonic() - started)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def _say(**figures: Any) -> None:
    print(json.dumps({name: float(value) for name, value in figures.items()}))


if __name__ == "__main__":
    app()
