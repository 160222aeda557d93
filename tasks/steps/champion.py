"""The champion: calibrated, told what it knows, and registered."""

import numpy as np

from tasks import layout, tracking, versioning
from tasks.backbones import catalogue
from tasks.comparison import model_card
from tasks.comparison.schema import Comparison
from tasks.evaluation.novelty import familiar
from tasks.params import DataParams, Params
from tasks.serving.champion import Champion, Facts, answers
from tasks.steps.data import read_quality
from tasks.steps.prepared import PreparedData, with_weights

CARD = "README.md"
KNOWN_IMAGES = 5000  # that the distance of a new image is measured to


def crown(found: Comparison, params: Params, data: PreparedData) -> str:
    """Register the champion of a comparison and return its version."""
    from tasks.tracking import registry

    folder = layout.WORK / "champion"
    champion_of(found, params, data).write(folder)
    model_card.write(found, folder / CARD)
    tracking.log_files(found.mlflow_run_id, [folder / CARD])
    return registry.register(found.leader.mlflow_run_id, folder, catalogue.packages(data.record.name))


def champion_of(found: Comparison, params: Params, data: PreparedData) -> Champion:
    """Return the champion of a comparison; the test split isn't touched."""
    name = found.leader.name
    settings = params.strategy(name)
    adapted = with_weights(settings, data, layout.run_file(name, "model.safetensors"))
    train = data.rows("train")
    some = np.random.default_rng(0).permutation(len(train))[:KNOWN_IMAGES]
    trained_on = answers(adapted, data.chosen(train.iloc[np.sort(some)]), settings)[1]
    known = familiar(trained_on, answers(adapted, data.split("val"), settings)[1])
    read = params.data
    facts = Facts(
        strategy=name,
        classes=data.classes,
        channels=data.channels,
        data=DataParams(
            source="folder", path=".", size=read.size, background=read.background, max_pixels=read.max_pixels,
            max_bytes=read.max_bytes,
        ),
        ranges=read_quality().ranges,
        settings=settings.model_copy(update={"device": "auto"}),  # another machine may have another
        backbone=found.backbone,
        temperature=found.leader.calibration.temperature,
        farthest=known.farthest,
        run_id=found.leader.mlflow_run_id,
        data_digest=versioning.data_digest(params.data),
    )  # fmt: skip
    return Champion(facts, adapted, known.features)
