"""What frozen features say of the data before anything is trained."""

import numpy as np

from tasks import layout
from tasks.errors import UserError
from tasks.evaluation.leakage import Pretence, pretences
from tasks.files import read_json, write_json
from tasks.params import StrategyParams, load_params
from tasks.steps.prepared import PreparedData, network
from tasks.training import device
from tasks.training.activations import features

HEAD = StrategyParams(train=("head",))


def probe() -> list[Pretence]:
    """Measure how much better a random split would make results look; without groups there is nothing to measure.

    The test split isn't touched: training and validation images are divided anew, by groups and at random.
    """
    params = load_params(layout.PARAMS)
    data = PreparedData.read()
    seen = data.table[data.table["split"] != "test"]
    found: list[Pretence] = []
    if (seen["group"] != "").any():
        device.keep_freed_memory()
        adapted = network(HEAD, data).adapted
        split = data.chosen(seen)
        held_out = float((seen["split"] == "val").mean())
        values = features(adapted, split, device.choose(HEAD)).flatten(1).cpu().numpy()
        found = pretences(
            values.astype(np.float32), split.targets.numpy(), seen["group"].tolist(), held_out, params.split.seed
        )
    write_json(layout.PROBE, {"pretences": [vars(pretence) for pretence in found]})
    return found


def read_probe() -> list[Pretence]:
    """Return what ``probe`` found.

    Raises:
        UserError: it did not run yet.
    """
    if not layout.PROBE.is_file():
        raise UserError(f"{layout.PROBE} does not exist: run 'dvc repro' to make it")
    return [Pretence(**pretence) for pretence in read_json(layout.PROBE)["pretences"]]
