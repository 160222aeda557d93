"""What frozen features say of the data before anything is trained."""

import numpy as np
import pandas as pd

from tasks import layout
from tasks.arrays import Features
from tasks.comparison.facts import Facts
from tasks.evaluation.leakage import pretences
from tasks.evaluation.transferability import transferability
from tasks.files import write_json
from tasks.params import StrategyParams, load_params
from tasks.runs.networks import network
from tasks.runs.outputs import Probe
from tasks.runs.prepared import PreparedData
from tasks.strategies.surgery import Adapted
from tasks.training import device
from tasks.training.batches import Split
from tasks.training.choosing import hardware_for
from tasks.training.domain import divergences, pixel_distance, sample
from tasks.training.features import features
from tasks.training.progress import Reporter

PROBED_IMAGES = 1000  # on which pretrained and random features are compared
NO_WEIGHTS = "random"


def probe() -> Probe:
    """Measure what frozen features say of the classes, and how far the images are from the pretraining's.

    The test split isn't touched: training and validation images are divided anew, by groups and at random.
    """
    data, params = PreparedData.read(), load_params(layout.PARAMS)
    seen = data.table[data.table["split"] != "test"]
    split, groups, seed = data.chosen(seen), seen["group"].tolist(), params.split.seed
    pretrained, values = _features(data, split, "pretrained")
    held_out = float((seen["split"] == "val").mean())
    probed = Probe(
        pretences(values, split.targets.numpy(), groups, held_out, seed) if any(groups) else [],
        _facts(data, seen, pretrained, values, seed),
    )
    content = {
        "pretences": [vars(pretence) for pretence in probed.pretences],
        "facts": probed.facts.model_dump(mode="json"),
    }
    write_json(layout.PROBE, content)
    return probed


def _facts(data: PreparedData, seen: pd.DataFrame, pretrained: Adapted, values: Features, seed: int) -> Facts:
    """Measure what strategies are recommended by; features of random weights on some of the images only."""
    some = np.sort(np.random.default_rng(seed).permutation(len(seen))[:PROBED_IMAGES])
    rows = seen.iloc[some]
    split, groups = data.chosen(rows), rows["group"].tolist()
    classes = split.targets.numpy()
    has_weights = data.record.source != NO_WEIGHTS
    hardware = hardware_for(pretrained, _head_only(), data.size, data.channels)
    random = transferability(_features(data, split, "random")[1], classes, groups, seed) if has_weights else None
    counts = seen.loc[seen["split"] == "train", "label"].value_counts()
    return Facts(
        images={label: int(counts.get(label, 0)) for label in data.classes},
        parts=tuple(part.name for part in pretrained.parts),
        channels=data.channels,
        channels_fit="stem" not in pretrained.new,
        pretrained=transferability(values[some], classes, groups, seed),
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
