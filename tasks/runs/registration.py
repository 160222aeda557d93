"""The champion: calibrated, told what it knows, and registered."""

import numpy as np

from tasks import layout, tracking, versioning
from tasks.backbones import catalogue
from tasks.comparison import model_card
from tasks.comparison.schema import Comparison
from tasks.evaluation.classifier import ImageClassifier
from tasks.evaluation.novelty import familiar
from tasks.files import write_json
from tasks.params import DataParams, Params
from tasks.runs.model_logging import track_program
from tasks.runs.networks import with_weights
from tasks.runs.outputs import read_quality
from tasks.runs.prepared import PreparedData
from tasks.runs.watching import watched
from tasks.serving.champion import Champion, Facts, answers
from tasks.serving.provenance import Origin

CHAMPION_FILES = layout.WORK / "champion"  # the files of the champion that was registered last
CARD = "README.md"
KNOWN_IMAGES = 5000  # that the distance of a new image is measured to


def register_champion(comparison: Comparison, params: Params, data: PreparedData, *, promote: bool = True) -> str:
    """Register the champion of a comparison and return its version.

    Args:
        comparison: the comparison.
        params: that it was made with.
        data: the prepared images, with any network.
        promote: make it the champion; otherwise it is registered as the challenger, and the champion stays.
    """
    from tasks.tracking import registry

    data = data.on(layout.network_of(params.candidate(comparison.leader.name)))
    champion, origin = champion_of(comparison, params, data)
    champion.write(CHAMPION_FILES)
    origin.write(CHAMPION_FILES)
    model_card.write(comparison, CHAMPION_FILES / CARD)
    tracking.log_files(comparison.mlflow_run_id, [CHAMPION_FILES / CARD])
    model = ImageClassifier(champion.adapted, data.size, champion.flips).eval()
    track_program(comparison.leader.mlflow_run_id, model, data)
    more = catalogue.packages(data.record.name)
    if promote:
        layout.CHALLENGER.unlink(missing_ok=True)
        return registry.register(comparison.leader.mlflow_run_id, CHAMPION_FILES, more)
    version = registry.register(comparison.leader.mlflow_run_id, CHAMPION_FILES, more, registry.CHALLENGER)
    write_json(layout.CHALLENGER, {"version": version})
    return version


def champion_of(comparison: Comparison, params: Params, data: PreparedData) -> tuple[Champion, Origin]:
    """Return the champion of a comparison and what it was made from; the test split isn't answered.

    ``data`` has the network of the champion.
    """
    name = comparison.leader.name
    settings = params.strategy(params.candidate(name))
    adapted = with_weights(settings, data, layout.run_file(params.candidate(name), "model.safetensors"))
    train = data.rows("train")
    some = np.random.default_rng(0).permutation(len(train))[:KNOWN_IMAGES]
    with watched(f"{name}: features of training images", data.chosen(train.iloc[np.sort(some)])) as images:
        trained_on = answers(adapted, images, settings)[1]
    with watched(f"{name}: features of validation images", data.split("val")) as images:
        held_out = answers(adapted, images, settings)[1]
    known = familiar(trained_on, held_out)
    facts = Facts(
        strategy=name,
        classes=data.classes,
        channels=data.channels,
        data=as_files_are_read(params.data, data.size),
        ranges=read_quality().ranges,
        settings=settings.model_copy(update={"device": "auto"}),  # another machine may have another
        backbone=comparison.backbone,
        temperature=comparison.leader.calibrated.temperature,
        farthest=known.farthest,
        run_id=comparison.leader.mlflow_run_id,
        data_digest=versioning.data_digest(params.data),
    )  # fmt: skip
    origin = Origin(
        seen=frozenset(train["sha256"]) | frozenset(data.rows("val")["sha256"]),
        tested=frozenset(data.rows("test")["sha256"]),
        held_out=held_out,
        classes={str(label): int(count) for label, count in train["label"].value_counts().items()},
    )
    return Champion(facts, adapted, known.features), origin


def as_files_are_read(data: DataParams, size: int) -> DataParams:
    """Return what of the params decides how a file becomes pixels of a size, for a champion that knows no source."""
    return DataParams(
        source="folder", path=".", size=size, background=data.background, max_pixels=data.max_pixels,
        max_bytes=data.max_bytes, upright=data.is_upright, range=data.range,
    )  # fmt: skip
