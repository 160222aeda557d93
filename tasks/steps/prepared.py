"""What ``prepare`` and ``backbone`` left behind, and the networks made from it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from tasks import layout
from tasks.backbones import weights
from tasks.backbones.weights import WeightsRecord
from tasks.data import manifest
from tasks.data.pixels import open_store
from tasks.errors import UserError
from tasks.evaluation import metrics
from tasks.params import Params, StrategyParams
from tasks.strategies import freezing, library, surgery
from tasks.strategies.freezing import FreezePlan
from tasks.strategies.surgery import Adapted
from tasks.training import device
from tasks.training.batches import Split
from tasks.training.loop import predict


@dataclass(frozen=True)
class PreparedData:
    """The prepared images and the backbone that strategies start from."""

    table: pd.DataFrame
    classes: list[str]
    record: WeightsRecord

    @classmethod
    def read(cls) -> "PreparedData":
        table = manifest.read_table(layout.MANIFEST, manifest.MANIFEST)
        if not layout.WEIGHTS_RECORD.is_file():
            raise UserError(f"{layout.WEIGHTS_RECORD} does not exist: run 'dvc repro' to make it")
        record = WeightsRecord.read(layout.WEIGHTS_RECORD)
        return cls(table, sorted(table["label"].unique()), record)

    @property
    def channels(self) -> int:
        return int(open_store(layout.PIXELS).shape[3])

    @property
    def size(self) -> int:
        return int(open_store(layout.PIXELS).shape[1])

    def rows(self, split: str) -> pd.DataFrame:
        return self.table[self.table["split"] == split]

    def split(self, name: str) -> Split:
        rows = self.rows(name)
        codes = {label: code for code, label in enumerate(self.classes)}
        return Split(
            open_store(layout.PIXELS),
            rows.index.to_numpy(dtype=np.int64),
            torch.tensor(rows["label"].map(codes).tolist(), dtype=torch.int64),
        )


def adapted_network(settings: StrategyParams, data: PreparedData) -> tuple[Adapted, FreezePlan]:
    state = weights.load(layout.WEIGHTS) if settings.start == "pretrained" else None
    adapted = surgery.adapt(
        state, data.record, classes=len(data.classes), channels=data.channels, head=settings.head, seed=settings.seed
    )
    groups = freezing.group_by_part(adapted.model, adapted.parts)
    return adapted, library.plan(settings, groups, data.record)


def with_weights(settings: StrategyParams, data: PreparedData, file: Path) -> Adapted:
    adapted, _ = adapted_network(settings, data)
    adapted.model.load_state_dict(weights.load(file))
    return adapted


def probabilities_of(adapted: Adapted, split: Split, settings: StrategyParams) -> metrics.Floats:
    device.keep_freed_memory()
    logits = predict(adapted, split, device.choose(settings))
    return logits.double().softmax(1).numpy()


def is_upright(params: Params) -> bool:
    return params.data.source != "elpv" if params.data.upright == "auto" else params.data.upright
