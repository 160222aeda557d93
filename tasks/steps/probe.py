"""What frozen features say of the data before anything is trained."""

import numpy as np
import pandas as pd

from tasks import layout
from tasks.arrays import Features
from tasks.comparison.facts import Facts
from tasks.evaluation.leakage import pretences
from tasks.evaluation.transferability import transferability
from tasks.files import write_json
from tasks.params import Params, StrategyParams, load_params
from tasks.progress import during, plain_console
from tasks.runs.candidates import competing, kept_networks, read_screening
from tasks.runs.estimates import Estimate, Images, estimate, remember
from tasks.runs.networks import network
from tasks.runs.outputs import Probe
from tasks.runs.prepared import PreparedData
from tasks.runs.speeds import measured_speeds
from tasks.strategies.surgery import Adapted
from tasks.training import device
from tasks.training.batches import Split
from tasks.training.choosing import hardware_for
from tasks.training.domain import divergences, pixel_distance, sample
from tasks.training.features import features
from tasks.training.progress import Reporter
from tasks.training.resolution import side_of_epoch, training_size

PROBED_IMAGES = 1000  # on which pretrained and random features are compared


def probe() -> Probe:
    """Measure what frozen features say of the classes, and how far the images are from the pretraining's.

    Of several networks it is the one that the screening speaks for most. The test split isn't touched: training and
    validation images are divided anew, by groups and at random.
    """
    params = load_params(layout.PARAMS)
    data = PreparedData.read(_most_promising(params))
    for line in plan(data, params).lines():
        plain_console().print(line)
    seen = data.table[data.table["split"] != "test"]
    split, groups, seed = data.chosen(seen), seen["group"].tolist(), params.split.seed
    pretrained, values = _features(data, split, "pretrained")
    held_out = float((seen["split"] == "val").mean())
    pretended = []
    if any(groups):
        with during("probe: how much a random split would pretend"):
            pretended = pretences(values, split.targets.numpy(), groups, held_out, seed)
    probed = Probe(pretended, _facts(data, seen, pretrained, values, seed))
    content = {
        "pretences": [vars(pretence) for pretence in probed.pretences],
        "facts": probed.facts.model_dump(mode="json"),
    }
    write_json(layout.PROBE, content)
    return probed


def plan(data: PreparedData, params: Params) -> Estimate:
    """Return how long the job takes at most, by the speed of its network, which is measured; keep it for others."""
    shared = params.train.model_dump(include={"device", "precision", "batch_size", "micro_batch", "batchnorm"})
    settings = StrategyParams.model_validate({"train": "all", **shared})
    candidates = competing(params)
    statistics = sorted({candidate.batchnorm for candidate in candidates.values()})
    with during("plan: how fast is this machine?"):
        speeds = {network: measured_speeds(data.on(network), settings, statistics) for network in kept_networks(params)}
    images = Images(*(len(data.rows(split)) for split in ("train", "val", "test")))

    def side_of(settings: StrategyParams, epoch: int, epochs: int) -> float:
        size = training_size(settings, data.size)
        start, whole = settings.start_size or size, settings.full_size_epochs
        return side_of_epoch(start, size, data.size, whole, epoch, epochs) / data.size

    planned = estimate(
        {
            params.title(name): (candidate, speeds[layout.network_of(name)]) for name, candidate in candidates.items()
        },
        params, images, data.folds, side_of, measured=True,
    )  # fmt: skip
    remember(planned)
    return planned


def _most_promising(params: Params) -> str:
    """Return the network whose probes reached most; the backbone, where no other competes."""
    probed = {screened.network: screened.probed for screened in read_screening().kept}
    return max(kept_networks(params), key=lambda name: probed.get(params.network_title(name), 0.0), default="")


def _facts(data: PreparedData, seen: pd.DataFrame, pretrained: Adapted, values: Features, seed: int) -> Facts:
    """Measure what strategies are recommended by; features of random weights on some of the images only."""
    some = np.sort(np.random.default_rng(seed).permutation(len(seen))[:PROBED_IMAGES])
    rows = seen.iloc[some]
    split, groups = data.chosen(rows), rows["group"].tolist()
    classes = split.targets.numpy()
    has_weights = data.is_pretrained
    hardware = hardware_for(pretrained, _head_only(), data.size, data.channels)
    without = _features(data, split, "random")[1] if has_weights else None
    with during("probe: how well features tell the classes apart"):
        random = None if without is None else transferability(without, classes, groups, seed)
        with_weights = transferability(values[some], classes, groups, seed)
    counts = seen.loc[seen["split"] == "train", "label"].value_counts()
    return Facts(
        images={label: int(counts.get(label, 0)) for label in data.classes},
        parts=tuple(part.name for part in pretrained.parts),
        channels=data.channels,
        channels_fit="stem" not in pretrained.new,
        pretrained=with_weights,
        random=random,
        pixel_distance=pixel_distance(pretrained.normalisation, split),
        divergences=divergences(pretrained, sample(split), hardware) if has_weights else {},
    )


def _features(data: PreparedData, split: Split, start: str) -> tuple[Adapted, Features]:
    """Return a network before training and its features; random weights need float32, see ``transferability``."""
    settings = _head_only(start=start, **({"precision": "float32"} if start == "random" else {}))
    made = network(settings, data)
    device.keep_freed_memory()
    hardware = hardware_for(made.adapted, settings, data.size, data.channels)
    values = features(made.adapted, made.plan, split, hardware, data.cache(settings), Reporter("probe"))
    return made.adapted, values.numpy()


def _head_only(**overrides: str) -> StrategyParams:
    shared = load_params(layout.PARAMS).train
    hardware = {"device": shared.device, "precision": shared.precision, "activations_gib": shared.activations_gib}
    return StrategyParams.model_validate({"train": "head", **hardware, **overrides})
