"""What the stages ``prepare``, ``backbone`` and ``network`` left behind: images, classes, where weights came from."""

from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np
import pandas as pd
import torch

from tasks import layout
from tasks.arrays import Pixels
from tasks.backbones.weights import WeightsRecord
from tasks.data import manifest
from tasks.data.store import index_of, open_store
from tasks.errors import UserError
from tasks.evaluation.predictions import targets_of
from tasks.files import digest_of, sha256_of
from tasks.params import TrainParams
from tasks.runs.code import FINE_TUNING, digest_of_code
from tasks.training.activations import Cache
from tasks.training.batches import Split

NO_WEIGHTS = "random"  # the source of a backbone without any


@dataclass(frozen=True)
class PreparedData:
    """The prepared images and the network that strategies start from.

    Attributes:
        table: the manifest.
        store: the decoded images; the manifest names the row of each.
        classes: names of the classes, sorted; a class's number is its place.
        record: where the network's weights came from.
        network: its name; empty: the backbone.
    """

    table: pd.DataFrame
    store: Pixels
    classes: list[str]
    record: WeightsRecord
    network: str = ""

    @classmethod
    def read(cls, network: str = "") -> "PreparedData":
        """Open what the stages before left, and take a network.

        Raises:
            UserError: something of it is missing, or the store and the manifest don't belong together.
        """
        table = manifest.read_table(layout.MANIFEST, manifest.MANIFEST)
        record = _record(network)
        store = open_store(layout.PIXELS, dict(zip(table["row"], table["sha256"], strict=True)))
        return cls(table, store, sorted(table["label"].unique()), record, network)

    def on(self, network: str) -> "PreparedData":
        """Return the same images with another network.

        Raises:
            UserError: its weights are not there.
        """
        return self if network == self.network else replace(self, record=_record(network), network=network)

    @property
    def channels(self) -> int:
        """Channels of the decoded images."""
        return int(self.store.shape[3])

    @property
    def size(self) -> int:
        """Height and width of the decoded images in pixels."""
        return int(self.store.shape[1])

    @property
    def is_pretrained(self) -> bool:
        """Whether the backbone has weights; without any, all strategies start from random ones."""
        return self.record.source != NO_WEIGHTS

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
        if not limit:
            return None
        libraries = [f"{name} {version(name)}" for name in ("torchvision", "timm")]
        code = [self.record.code_sha256, digest_of_code(FINE_TUNING), libraries]
        digest = digest_of([sha256_of(index_of(layout.PIXELS)), code])
        return Cache(layout.WORK / "activations", limit, digest)

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


def _record(network: str) -> WeightsRecord:
    file = layout.weights_record(network)
    if not file.is_file():
        raise UserError(f"{file} does not exist: run 'dvc repro' to make it")
    return WeightsRecord.read(file)
