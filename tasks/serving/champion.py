"""The champion as a folder of files, and as something that answers images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch

from tasks.arrays import Features, Floats, Pixels
from tasks.backbones import catalogue, weights
from tasks.backbones.architecture import Architecture
from tasks.backbones.weights import WeightsRecord
from tasks.engines.answering import Answer
from tasks.errors import UserError
from tasks.evaluation.calibration import scaled
from tasks.evaluation.novelty import Familiar
from tasks.files import atomic_path, read_json, write_json
from tasks.params import DataParams, StrategyParams
from tasks.record import Record
from tasks.strategies import surgery
from tasks.strategies.surgery import Adapted
from tasks.training import device
from tasks.training.batches import Split
from tasks.training.choosing import hardware_for
from tasks.training.features import features_of_head
from tasks.training.inference import predict
from tasks.training.tta import NO_TTA, Flips, tta_flips

VERSION = 1
FACTS, WEIGHTS, KNOWN = "champion.json", "model.safetensors", "known.safetensors"
WIDEST_FEATURES = 4096


class Facts(Record):
    """All about a champion that is no tensor.

    Attributes:
        strategy: by which it was fine-tuned.
        classes: names in the order of the answers.
        channels: of the images.
        data: working size and limits of image files.
        ranges: values of grey beyond 8 bits that become black and white, by kind.
        settings: of the strategy.
        backbone: the record of the weights that it started from.
        temperature: that its probabilities are divided by.
        farthest: distance of features from which on an image is unlike those that it was trained on.
        run_id: its MLflow run.
        data_digest: DVC's digest of the images.
    """

    version: int = VERSION
    strategy: str
    classes: list[str]
    channels: int
    data: DataParams
    ranges: dict[str, tuple[float, float]]
    settings: StrategyParams
    backbone: dict[str, Any]
    temperature: float
    farthest: float
    run_id: str
    data_digest: str


@dataclass(frozen=True)
class Answers:
    """What the champion says of images.

    Attributes:
        probabilities: calibrated, shape (images, classes).
        distances: of their features to those of known images, shape (images,).
        features: float32, shape (images, features).
    """

    probabilities: Floats
    distances: Features
    features: Features


@dataclass(frozen=True)
class Champion:
    """A fine-tuned network, ready to answer.

    Attributes:
        links_to: where links among image files may lead, besides their folder.
    """

    facts: Facts
    adapted: Adapted
    known: Features
    links_to: Sequence[Path] = ()

    @classmethod
    def read(cls, folder: Path) -> "Champion":
        """Read what ``write`` left.

        Raises:
            UserError: there is no champion in the folder, or one of another version or with another architecture.
        """
        if not (folder / FACTS).is_file():
            raise UserError(f"{folder} holds no champion: there is no {FACTS} in it")
        content = read_json(folder / FACTS)
        if content.get("version") != VERSION:
            raise UserError(f"{folder} holds a champion of version {content.get('version')}, this reads {VERSION}")
        facts = Facts.model_validate(content)
        name, code = facts.backbone["name"], facts.backbone["code_sha256"]
        if catalogue.code_sha256(name) != code:
            raise UserError(f"{folder} holds a champion whose architecture {name} has another source here than it had")
        adapted = surgery.adapt(
            _architecture(facts), None, facts.data.side, len(facts.classes), facts.channels, facts.settings
        )
        weights.fill(adapted.model, weights.load(folder / WEIGHTS))
        return cls(facts, adapted, safetensors.numpy.load_file(folder / KNOWN)["features"].astype(np.float32))

    def write(self, folder: Path) -> None:
        """Write all of it into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        weights.save(self.adapted.model.state_dict(), folder / WEIGHTS)
        with atomic_path(folder / KNOWN) as temporary:
            safetensors.numpy.save_file({"features": self.known.astype(np.float16)}, temporary)
        write_json(folder / FACTS, self.facts.model_dump(mode="json"))

    @cached_property
    def _engine(self) -> Answer | None:
        """What answers, set up for the first images, whose features are asked for; None: the network itself."""
        hardware = hardware_for(self.adapted, self.facts.settings, self.facts.data.side, self.facts.channels)
        if hardware.way.engine == "eager":
            return None
        model = self.adapted.model.to(hardware.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        model.eval().requires_grad_(False)
        return hardware.answering(self.adapted.model)

    @property
    def flips(self) -> Flips:
        """The views of an image whose mean is the answer."""
        return tta_flips(tta=self.facts.settings.tta, upright=self.facts.data.is_upright)

    def answer(self, pixels: Pixels) -> Answers:
        """Answer images of the working size, uint8 of shape (images, size, size, channels)."""
        images = Split(pixels, np.arange(len(pixels)), torch.zeros(len(pixels), dtype=torch.int64))
        logits, features = answers(self.adapted, images, self.facts.settings, self.flips, self._engine)
        return Answers(
            scaled(logits.double().softmax(1).numpy(), self.facts.temperature),
            Familiar(self.known, self.facts.farthest).distances(features),
            features,
        )


def answers(
    adapted: Adapted, split: Split, settings: StrategyParams, flips: Flips = NO_TTA, engine: Answer | None = None
) -> tuple[torch.Tensor, Features]:
    """Return the logits of a split, and the features that they were made from; the logits, if those are many.

    The features are float32 of shape (images, features), of the first view of every image. ``engine`` is one that
    answered for these weights before; None: a new one.
    """
    device.keep_freed_memory()
    _, size, _, channels = split.store.shape
    hardware = hardware_for(adapted, settings, size, channels)
    with features_of_head(adapted) as seen:
        logits = predict(adapted, split, hardware, flips, engine)
    features = torch.cat(seen[:: len(flips)]).cpu()
    chosen = features if features.shape[1] <= WIDEST_FEATURES else logits
    return logits, chosen.numpy()


def _architecture(facts: Facts) -> Architecture:
    record = WeightsRecord.of(facts.backbone)
    return replace(record.architecture(), mean=record.mean, std=record.std)
