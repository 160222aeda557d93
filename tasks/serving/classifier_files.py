"""A fine-tuned network as files that answer raw images: its weights, how it is built, and the code that builds it.

None of them is a pickle. What builds a network of the user's own code or ONNX file is not in this project, so that such
a network is exported as a program instead.
"""

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.backbones import weights
from tasks.backbones.weights import WeightsRecord
from tasks.evaluation.classifier import ImageClassifier
from tasks.files import atomic_path, read_json
from tasks.params import StrategyParams
from tasks.strategies import surgery

SOURCES = Path(__file__).parents[1]
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same code is the same archive


def describe(
    model: ImageClassifier, settings: StrategyParams, record: dict[str, Any], channels: int, classes: int
) -> dict[str, Any]:
    """Return how a classifier is built, as plain data.

    Args:
        model: the classifier.
        settings: of the strategy that adapted its network.
        record: of the weights that it started from, as plain data.
        channels: of the images.
        classes: number of them.
    """
    return {
        "backbone": record,
        "settings": settings.model_dump(mode="json"),
        "size": model.size,
        "classes": classes,
        "channels": channels,
        "flips": model.flips,
    }


def read(description: Path, weights_file: Path) -> ImageClassifier:
    """Return a classifier, ready to answer.

    Args:
        description: a JSON file of what ``describe`` returned.
        weights_file: its network's weights, as safetensors.

    Raises:
        UserError: the network is no longer to be had, or the weights are damaged.
    """
    content = read_json(description)
    record = WeightsRecord.of(content["backbone"])
    adapted = surgery.adapt(
        replace(record.architecture(), mean=record.mean, std=record.std),
        None,
        content["size"],
        content["classes"],
        content["channels"],
        StrategyParams.model_validate(content["settings"]),
    )
    weights.fill(adapted.model, weights.load(weights_file))
    flips = tuple(tuple(dimensions) for dimensions in content["flips"])
    return ImageClassifier(adapted, content["size"], flips).eval()


def archive_code(target: Path) -> None:
    """Write this project's rooms as one archive that Python imports ``tasks`` from."""
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for source in sorted(SOURCES.rglob("*.py")):
            entry = zipfile.ZipInfo(source.relative_to(SOURCES.parent).as_posix(), LONG_AGO)
            archive.writestr(entry, source.read_bytes(), zipfile.ZIP_DEFLATED)
