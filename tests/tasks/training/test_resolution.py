"""Images that grow while a network trains."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import UserError
from tasks.training.resolution import check_sides, resized, side_of_epoch
from tests.tasks.networks import SIZE, adapt, strategy
from tests.tasks.training.conftest import MakeJob, Splits


@given(start=st.integers(16, 512), more=st.integers(0, 512), epochs=st.integers(1, 60))
def test_sides_grow_to_the_whole(start: int, more: int, epochs: int) -> None:
    """They never shrink, begin with the first and end with all pixels, which the last two fifths have."""
    sides = [side_of_epoch(start, start + more, epoch, epochs) for epoch in range(epochs)]
    assert sides == sorted(sides)
    assert all(start <= side <= start + more for side in sides)
    assert sides[0] <= start + 16 or epochs == 1
    assert all(side == start + more for epoch, side in enumerate(sides) if epoch >= 0.6 * epochs)


def test_without_a_start_all_epochs_have_all_pixels() -> None:
    """The option is off unless it is written."""
    assert {side_of_epoch(None, 224, epoch, 5) for epoch in range(5)} == {224}


def test_smaller_images_are_the_images(splits: Splits) -> None:
    """Resizing there and back changes little, and the same side changes nothing."""
    images = splits.val.images(torch.arange(4).numpy())
    smaller = resized(images, SIZE // 2)
    assert smaller.shape == (4, 1, SIZE // 2, SIZE // 2)
    assert smaller.dtype == torch.uint8
    averaged = torch.nn.functional.avg_pool2d(images.float(), 2)
    assert float((smaller.float() - averaged).abs().mean()) < 4
    assert torch.equal(resized(images, SIZE), images)


def test_the_network_sees_them_grow(job: MakeJob) -> None:
    """The first epoch trains on small images, the last on whole ones; validation always on whole ones."""
    made = job(train="all", epochs=3, start_size=16)
    seen: dict[bool, list[int]] = {True: [], False: []}

    def look(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if isinstance(inputs[0], torch.Tensor):  # and not what stands for it while the forward pass is traced
            seen[torch.is_grad_enabled()].append(inputs[0].shape[-1])

    made.adapted.model.get_submodule("conv1").register_forward_pre_hook(look)
    made.fit()
    assert seen[True][0] == 16
    assert seen[True][-1] == SIZE
    assert set(seen[False]) == {SIZE}


FITS_NOT = [("vit_b_16", 16, "does not take"), ("mobilenet_v2", 64, "is more")]


@pytest.mark.parametrize(("name", "start", "match"), FITS_NOT)
def test_a_side_that_does_not_fit_is_one_sentence(name: str, start: int, match: str) -> None:
    """The network takes no other size, or the images are smaller."""
    with pytest.raises(UserError, match=match):
        check_sides(adapt(name, strategy(train="all")), start, SIZE, 1, 3)
