"""Test-time augmentation: what is answered does not depend on which way an image lies."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tasks.evaluation.classifier import ImageClassifier
from tasks.training.inference import predict
from tasks.training.tta import ALL_FLIPS, HORIZONTAL_FLIP, NO_TTA, Flips, mean_logits, tta_flips
from tests.tasks.evaluation.test_classifier import CPU, opinionated
from tests.tasks.networks import split_cells

SIDES = {"left and right": (3,), "top and bottom": (2,), "both": (2, 3)}


class Corners(nn.Module):
    """Answers with what is in two corners of an image."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of shape (batch, 2)."""
        return torch.stack([images[:, 0, 0, 0], images[:, 0, 0, -1] * 3], dim=1)


def test_only_what_keeps_the_meaning_changes_places() -> None:
    """Images that have an up are mirrored, others are turned upside down, too; without ``tta`` nothing is done."""
    assert tta_flips(tta=False, upright=False) == tta_flips(tta=False, upright=True) == NO_TTA
    assert tta_flips(tta=True, upright=True) == HORIZONTAL_FLIP
    assert set(tta_flips(tta=True, upright=False)) == {(), *SIDES.values()}


@pytest.mark.parametrize(("flips", "same"), [(HORIZONTAL_FLIP, {"left and right"}), (ALL_FLIPS, set(SIDES))])
def test_a_flipped_image_gets_the_same_answer(flips: Flips, same: set[str]) -> None:
    """The mean of probabilities is the same for an image and its flips, and no other."""
    images = torch.randn(4, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    answers = mean_logits(Corners(), images, flips).softmax(1)
    views = [Corners()(images.flip(flip)).softmax(1) for flip in flips]
    torch.testing.assert_close(answers, sum(views) / len(views))
    unchanged = {
        side
        for side, flip in SIDES.items()
        if torch.allclose(mean_logits(Corners(), images.flip(flip), flips).softmax(1), answers, atol=1e-6)
    }
    assert unchanged == same


def test_what_is_handed_over_answers_as_the_training_side(cells: Path, tmp_path: Path) -> None:
    """Flips count on both sides, and change answers."""
    adapted = opinionated(1, 2)
    _, split = split_cells(cells, tmp_path / "pixels.npy", 8)
    plain, wanted = (predict(adapted, split, CPU, flips).softmax(1) for flips in (NO_TTA, ALL_FLIPS))
    classifier = ImageClassifier(adapted, split.store.shape[1], ALL_FLIPS).eval()
    images = torch.from_numpy(split.store[split.rows]).permute(0, 3, 1, 2)
    with torch.inference_mode():
        torch.testing.assert_close(classifier(images), wanted, atol=1e-4, rtol=0)
    assert (plain - wanted).abs().max() > 0.001
