"""What frozen features say of the data before anything is trained."""

import pandas as pd

from tasks import layout
from tasks.data import manifest
from tasks.errors import UserError
from tasks.evaluation.leakage import Pretence, pretences
from tasks.files import read_json, write_json
from tasks.params import StrategyParams, load_params


def probe() -> list[Pretence]:
    """Measure how much better a random split would make results look; without groups there is nothing to measure.

    The test split isn't touched: training and validation images are divided anew, by groups and at random.
    """
    seed = load_params(layout.PARAMS).split.seed
    table = manifest.read_table(layout.MANIFEST, manifest.MANIFEST)
    seen = table[table["split"] != "test"]
    found = _measured(seen, seed) if (seen["group"] != "").any() else []
    write_json(layout.PROBE, {"pretences": [vars(pretence) for pretence in found]})
    return found


def _measured(seen: pd.DataFrame, seed: int) -> list[Pretence]:
    from tasks.steps.prepared import PreparedData, network
    from tasks.training import device
    from tasks.training.features import features
    from tasks.training.progress import Reporter

    shared = load_params(layout.PARAMS).train
    own = {"device": shared.device, "precision": shared.precision, "activations_gib": shared.activations_gib}
    data, head_only = PreparedData.read(), StrategyParams.model_validate({"train": "head", **own})
    device.keep_freed_memory()
    split, made = data.chosen(seen), network(head_only, data)
    values = features(
        made.adapted, made.plan, split, device.choose(head_only), data.cache(head_only), Reporter("probe")
    ).numpy()
    held_out = float((seen["split"] == "val").mean())
    return pretences(values, split.targets.numpy(), seen["group"].tolist(), held_out, seed)


def read_probe() -> list[Pretence]:
    """Return what ``probe`` found.

    Raises:
        UserError: it did not run yet.
    """
    if not layout.PROBE.is_file():
        raise UserError(f"{layout.PROBE} does not exist: run 'dvc repro' to make it")
    return [Pretence(**pretence) for pretence in read_json(layout.PROBE)["pretences"]]
