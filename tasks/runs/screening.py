"""The networks that compete, screened: what their frozen features say of the classes, and what they cost."""

from statistics import fmean, stdev

import numpy as np
import psutil
import torch

from tasks import layout
from tasks.backbones.weights import WeightsRecord
from tasks.comparison.screening import Screened, choose
from tasks.errors import UserError
from tasks.evaluation.latency import milliseconds
from tasks.evaluation.transferability import linear_probe, logme
from tasks.params import Params, StrategyParams
from tasks.progress import during
from tasks.runs.networks import network
from tasks.runs.prepared import PreparedData
from tasks.runs.watching import watched
from tasks.training import device
from tasks.training.batches import INFERENCE_BATCH, Split
from tasks.training.choosing import hardware_for
from tasks.training.domain import sample
from tasks.training.inference import predict
from tasks.training.stage_features import stage_features

SCREENED_IMAGES = 1000  # training and validation images that networks are screened on
TIMED_BATCHES = 5
COPIES = 4  # of the weights that training holds: themselves, gradients, two moments of the optimizer
BYTES = 4  # a parameter


def screened(params: Params) -> list[Screened]:
    """Look at every network that competes, on images that are not tested; return them with who is kept, and why.

    Raises:
        UserError: one is too large for this machine.
    """
    data = PreparedData.read(next(iter(params.networks)))
    seen = data.table[data.table["split"] != "test"]
    some = np.sort(np.random.default_rng(params.split.seed).permutation(len(seen))[:SCREENED_IMAGES])
    rows = seen.iloc[some]
    split, groups = data.chosen(rows), rows["group"].tolist()
    found = []
    for name in params.networks:
        record = WeightsRecord.read(layout.weights_record(name))
        known = Screened(
            network=params.network_title(name), name=record.name, weights=record.weights, licence=record.licence,
            accuracy=record.accuracy, why=f"left out: {record.left_out}" if record.left_out else "",
        )  # fmt: skip
        found.append(known if record.left_out else _measured(known, params, data.on(name), split, groups))
    return choose(found, params.screen)


def _measured(known: Screened, params: Params, data: PreparedData, split: Split, groups: list[str]) -> Screened:
    shared = params.train.model_dump(include={"device", "precision"})
    settings = StrategyParams.model_validate({"train": "head", **shared})
    adapted = network(settings, data).adapted
    parameters = sum(weights.numel() for weights in adapted.model.parameters())
    _must_fit(known.network, parameters)
    device.keep_freed_memory()
    hardware = hardware_for(adapted, settings, data.size, data.channels)
    with watched(f"screening: {known.network}", split) as images:
        stages = [stage.numpy() for stage in stage_features(adapted, images, hardware)]
    last, targets, some = stages[-1], split.targets.numpy(), sample(split, INFERENCE_BATCH)
    with during(f"screening: how well the features of {known.network} tell the classes apart"):
        of_last = linear_probe(last, targets, groups, params.split.seed)
        of_all = linear_probe(np.concatenate(stages, axis=1), targets, groups, params.split.seed)
        evidence = logme(last, targets)
    return known.model_copy(
        update={
            "parts": tuple(part.name for part in adapted.parts),
            "parameters": parameters,
            "milliseconds": milliseconds(lambda: predict(adapted, some, hardware), TIMED_BATCHES) / len(some),
            "last_stage": fmean(of_last.balanced_accuracy or [0.0]),
            "all_stages": fmean(of_all.balanced_accuracy or [0.0]),
            "deviation": stdev(of_all.balanced_accuracy) if len(of_all.balanced_accuracy) > 1 else None,
            "logme": evidence,
        }
    )


def _must_fit(name: str, parameters: int) -> None:
    """Check that there is memory to train a network.

    Raises:
        UserError: there is less than its weights need.
    """
    needed = parameters * BYTES * COPIES
    free = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else psutil.virtual_memory().available
    if needed > free:
        raise UserError(
            f"params.yaml: network {name}: {parameters:,} parameters take {needed / 2**30:.1f} GiB to train, and "
            f"{free / 2**30:.1f} GiB are free: leave it out of 'backbones', or take a smaller one"
        )
