"""The model that is handed over answers as the training side does."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.evaluation.classifier import ImageClassifier
from tasks.strategies.surgery import Adapted
from tasks.training.device import Hardware
from tasks.training.inference import predict
from tests.tasks.networks import SIZE, network, split_cells, strategy

CPU = Hardware(torch.device("cpu"), bfloat16=False)


def opinionated(channels: int, classes: int) -> Adapted:
    """Return a network whose answers differ from image to image, and are far from even."""
    adapted, _ = network("squeezenet1_1", strategy(train="all"), channels, classes)
    generator = torch.Generator().manual_seed(0)
    for parameter in adapted.model.get_submodule(adapted.head).parameters():
        parameter.data.normal_(0, 0.3, generator=generator)
    return adapted


def test_answers_match_the_training_side(cells: Path, tmp_path: Path) -> None:
    """Original images at their own size give nearly the probabilities that the stored ones gave in training."""
    adapted = opinionated(1, 2)
    _, split = split_cells(cells, tmp_path / "pixels.npy", 32)
    wanted = predict(adapted, split, CPU).softmax(1)
    paths = sorted(cells.rglob("*.png"))
    originals = [np.array(Image.open(paths[row]).convert("L")) for row in split.rows]
    assert max(original.shape[0] for original in originals) > SIZE
    classifier = ImageClassifier(adapted, SIZE).eval()
    with torch.inference_mode():
        answers = torch.cat([classifier(torch.from_numpy(original)[None, None]) for original in originals])
    spread = (wanted.max(0).values - wanted.min(0).values).max()
    assert spread > 0.02, "the images are told apart"
    assert (answers - wanted).abs().max() < 0.1 * spread


def test_without_resizing_answers_are_the_same(cells: Path, tmp_path: Path) -> None:
    """At the working size the classifier is the network behind its normalisation, nothing else."""
    adapted = opinionated(1, 2)
    _, split = split_cells(cells, tmp_path / "pixels.npy", 32)
    images = split.images(np.arange(len(split)))
    with torch.inference_mode():
        answers = ImageClassifier(adapted, SIZE).eval()(images)
    torch.testing.assert_close(answers, predict(adapted, split, CPU).softmax(1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (17, 90), (300, 300), (32, 32)])
def test_any_size_is_answered(channels: int, height: int, width: int) -> None:
    """Images of any height and width give a probability for every class, which sum to one."""
    classifier = ImageClassifier(opinionated(channels, 4), SIZE).eval()
    images = torch.randint(0, 256, (3, channels, height, width), dtype=torch.uint8)
    with torch.inference_mode():
        answers = classifier(images)
    assert answers.shape == (3, 4)
    assert (answers >= 0).all()
    torch.testing.assert_close(answers.sum(1), torch.ones(3))


def test_statistics_travel_with_the_weights() -> None:
    """The normalisation is in the state, so that a saved classifier needs nothing else."""
    first, second = (ImageClassifier(opinionated(3, 2), SIZE).eval() for _ in range(2))
    second.mean.zero_()
    second.load_state_dict(first.state_dict())
    images = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(first(images), second(images))
