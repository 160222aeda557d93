"""What ``prepare`` and ``backbone`` left behind, and the networks made from it."""

from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from tasks import layout
from tasks.arrays import Floats
from tasks.backbones import weights
from tasks.backbones.architecture import Architecture
from tasks.backbones.fitting import State
from tasks.backbones.weights import WeightsRecord
from tasks.data import manifest
from tasks.data.reading import Pixels
from tasks.data.store import index_of, open_store
from tasks.errors import UserError
from tasks.evaluation.predictions import targets_of
from tasks.files import digest_of, digest_of_tree, sha256_of
from tasks.params import Params, StrategyParams, TrainParams
from tasks.strategies import library, making, surgery
from tasks.strategies.freezing import FreezePlan, Group
from tasks.strategies.library import Measured
from tasks.strategies.surgery import Adapted
from tasks.training import device, precision, resolution
from tasks.training.activations import Cache
from tasks.training.batches import Split
from tasks.training.loop import predict
from tasks.training.tta import AS_THEY_ARE, Flips, flips_of


@dataclass(frozen=True)
class PreparedData:
    """The prepared images and the backbone that strategies start from.

    Attributes:
        table: the manifest.
        store: the decoded images; the manifest names the row of each.
        classes: names of the classes, sorted; a class's number is its place.
        record: where the backbone's weights came from.
    """

    table: pd.DataFrame
    store: Pixels
    classes: list[str]
    record: WeightsRecord

    @classmethod
    def read(cls) -> "PreparedData":
        """Open what the stages before left.

        Raises:
            UserError: something of it is missing, or the store and the manifest don't belong together.
        """
        table = manifest.read_table(layout.MANIFEST, manifest.MANIFEST)
        if not layout.WEIGHTS_RECORD.is_file():
            raise UserError(f"{layout.WEIGHTS_RECORD} does not exist: run 'dvc repro' to make it")
        store = open_store(layout.PIXELS, dict(zip(table["row"], table["sha256"], strict=True)))
        return cls(table, store, sorted(table["label"].unique()), WeightsRecord.read(layout.WEIGHTS_RECORD))

    @property
    def channels(self) -> int:
        """Channels of the decoded images."""
        return int(self.store.shape[3])

    @property
    def size(self) -> int:
        """Height and width of the decoded images in pixels."""
        return int(self.store.shape[1])

    @property
    def folds(self) -> int:
        """Folds that are validated on, one after the other; 0: the validation split alone is."""
        return int(self.table.attrs.get(manifest.FOLDS, 0))

    def rows(self, split: str) -> pd.DataFrame:
        """Return the manifest's rows of a split."""
        return self.table[self.table["split"] == split]

    def split(self, name: str) -> Split:
        """Return the images and classes of a split, in the order of the manifest."""
        return self.chosen(self.rows(name))

    def chosen(self, rows: pd.DataFrame) -> Split:
        """Return the images and classes of some rows of the manifest, in their order."""
        return Split(
            self.store,
            rows["row"].to_numpy(dtype=np.int64),
            torch.tensor(targets_of(rows, self.classes)),
            torch.tensor(rows["weight"].tolist(), dtype=torch.float32) if (rows["weight"] != 1).any() else None,
        )

    def cache(self, settings: TrainParams) -> Cache | None:
        """Return where what frozen layers answer for these images is kept, if that is wanted."""
        limit = int(settings.activations_gib * 2**30)
        libraries = [f"{name} {version(name)}" for name in ("torchvision", "timm") if find_spec(name)]
        code = [self.record.code_sha256, digest_of_tree(Path(__file__).parents[1], "*.py"), libraries]
        digest = digest_of([sha256_of(index_of(layout.PIXELS)), code])
        return Cache(layout.WORK / "activations", limit, digest) if limit else None

    def on_fold(self, fold: int) -> "PreparedData":
        """Return the same with a fold as the validation split, and the others trained on."""
        if not fold:  # as the manifest has it
            return self
        split = self.table["split"].mask(self.table["split"] == "val", "train").mask(self.table["fold"] == fold, "val")
        return replace(self, table=self.table.assign(split=split))

    def thinned(self, share: float, seed: int) -> "PreparedData":
        """Return the same with a share of each class's training images, at least one; smaller shares lie in larger.

        Args:
            share: of the training split; 1 leaves it as it is.
            seed: of the draw.
        """
        if share == 1:
            return self
        shuffled = self.rows("train").sample(frac=1, random_state=seed).groupby("label", sort=False)
        places, counts = shuffled.cumcount(), shuffled["label"].transform("size")
        kept = places[places < np.ceil(share * counts - 1e-9)].index
        left_out = self.rows("train").index.difference(kept)
        return replace(self, table=self.table.drop(index=left_out))

    def picture(self, path: str) -> Pixels:
        """Return the pixels of an image of the manifest, shape (size, size, channels)."""
        row = self.table.loc[self.table["path"] == path, "row"].iloc[0]
        pixels: Pixels = self.store[row]
        return pixels


class Network(NamedTuple):
    """A strategy's network before training, made for the data, and what of it trains when."""

    adapted: Adapted
    plan: FreezePlan


def network(settings: StrategyParams, data: PreparedData, measured: Measured | None = None) -> Network:
    """Return a strategy's network before training and its freeze plan.

    Raises:
        UserError: something that the strategy names is not in this network.
    """
    adapted, groups = network_in_groups(settings, data)
    plan = library.plan(settings, groups, adapted.new, data.record.lr, measured)
    resolution.check_sides(adapted, settings.start_size, data.size, data.channels, plan.epochs)
    if settings.frozen_precision == "bfloat16":
        precision.lower(adapted.model, plan)
    return Network(adapted, plan)


def network_in_groups(settings: StrategyParams, data: PreparedData) -> tuple[Adapted, tuple[Group, ...]]:
    """Return a strategy's network before training, and the groups that freeze and thaw together."""
    return making.make(*_start(settings, data))


def with_weights(settings: StrategyParams, data: PreparedData, file: Path) -> Adapted:
    """Return a strategy's network with the weights of a file."""
    adapted = surgery.adapt(*_start(settings, data))
    weights.fill(adapted.model, weights.load(file))
    return adapted


def _start(
    settings: StrategyParams, data: PreparedData
) -> tuple[Architecture, State | None, int, int, int, StrategyParams]:
    """Return what a strategy's network is made of."""
    record = data.record
    architecture = replace(record.architecture(), mean=record.mean, std=record.std)
    state = weights.load(layout.WEIGHTS) if settings.start == "pretrained" else None
    return architecture, state, data.size, len(data.classes), data.channels, settings


def flips_for(settings: StrategyParams, params: Params) -> Flips:
    """Return the views of an image whose mean a strategy answers."""
    return flips_of(tta=settings.tta, upright=params.data.is_upright)


def probabilities_of(
    adapted: Adapted, split: Split, settings: StrategyParams, flips: Flips = AS_THEY_ARE
) -> Floats:
    """Return the probabilities of a split, shape (images, classes)."""
    device.keep_freed_memory()
    logits = predict(adapted, split, device.choose(settings), flips)
    return logits.double().softmax(1).numpy()
