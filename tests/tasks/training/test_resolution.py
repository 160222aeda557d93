"""Sizes of the images that a network trains on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from torch import Tensor, nn

from tasks import stopping
from tasks.errors import UserError
from tasks.stopping import StoppedError
from tasks.training import loop
from tasks.training.activations import SUFFIX, Cache
from tasks.training.progress import Reporter
from tasks.training.resolution import Sides, resized, side_of_epoch, sides_of, suggested_size
from tests.tasks.networks import SIZE, network, strategy
from tests.tasks.training.conftest import ALWAYS, Job, MakeJob, Splits, same
from tests.tasks.training.pair import StopsItself

SMALL = SIZE // 2
LAST_STAGES: dict[str, Any] = {"train": ["stages[1:]", "head"], "size": SMALL, "epochs": 3}


def sides(name: str = "mobilenet_v2", full: int = 288, **settings: Any) -> Sides:
    """Return the sides of a strategy's epochs."""
    chosen = strategy(**settings)
    adapted, plan = network(name, chosen)
    return sides_of(adapted, chosen, plan, full, 1)


def seen_by(made: Job, layer: str) -> dict[bool, list[int]]:
    """Return the sides, to be filled, of what a layer is given, by whether it is trained on."""
    seen: dict[bool, list[int]] = {True: [], False: []}

    def look(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if isinstance(inputs[0], Tensor):  # and not what stands for it while the forward pass is traced
            seen[torch.is_grad_enabled()].append(inputs[0].shape[-1])

    made.adapted.model.get_submodule(layer).register_forward_pre_hook(look)
    return seen


@given(
    start=st.integers(16, 512),
    more=st.integers(0, 512),
    most=st.integers(0, 512),
    whole=st.integers(0, 5),
    epochs=st.integers(1, 60),
)
def test_sides_grow_to_the_whole(start: int, more: int, most: int, whole: int, epochs: int) -> None:
    """They never shrink, begin with the first, reach the size by three fifths, and end with whole images."""
    size, full = start + more, start + more + most
    found = [side_of_epoch(start, size, full, whole, epoch, epochs) for epoch in range(epochs)]
    assert found == sorted(found)
    assert all(start <= side <= full for side in found)
    assert found[0] <= start + 16 or epochs <= whole
    smaller = found[: epochs - whole] if whole < epochs else []
    assert all(side == size for epoch, side in enumerate(smaller) if epoch >= 0.6 * epochs)
    assert all(side <= size for side in smaller)
    assert found[len(smaller) :] == [full] * (epochs - len(smaller))


@given(full=st.integers(16, 2048))
def test_the_suggestion_saves_without_shrinking_much(full: int) -> None:
    """It is never more than there is, never below the pretraining's 224 where there is as much, nor below 3/4."""
    size = suggested_size(full)
    assert min(full, 224) <= size <= full
    assert size >= 0.7 * full
    assert size == full or size % 32 == 0


HEAD_FIRST = [{"train": "head", "solver": "lbfgs"}, {"train": "all", "epochs": 2}]
EPOCHS = [
    ({"train": "all", "epochs": 3}, (288, 288, 288)),
    ({"train": "all", "epochs": 3, "size": "auto"}, (224, 224, 288)),
    ({"train": "all", "epochs": 3, "size": 160, "full_size_epochs": 2}, (160, 288, 288)),
    ({"train": "all", "epochs": 3, "size": 160, "full_size_epochs": 0}, (160, 160, 160)),
    ({"train": "all", "epochs": 1, "size": "auto"}, (288,)),
    ({"train": "all", "epochs": 6, "start_size": 160}, (160, 192, 224, 256, 288, 288)),
    ({"train": "all", "epochs": 6, "start_size": 160, "size": "auto"}, (160, 192, 192, 224, 224, 288)),
    ({"train": "head", "epochs": 2, "size": "auto"}, (288, 288)),
    (
        {"phases": [{"train": "head", "solver": "lbfgs"}, {"train": "all", "epochs": 2}], "size": "auto"},
        (288, 224, 288),
    ),
]


@pytest.mark.parametrize(("settings", "expected"), EPOCHS)
def test_sides_of_a_strategy(settings: dict[str, Any], expected: tuple[int, ...]) -> None:
    """Images are smaller but for the last epochs, and wherever the head alone trains."""
    assert sides(**settings).by_epoch == expected


def test_behind_the_thaw_line_nothing_grows() -> None:
    """What frozen layers answer is kept for one size, and for whole images."""
    found = sides(train=["stages[2:]", "head"], epochs=6, start_size=160, size="auto")
    assert found.behind_thaw_line == (224, 224, 224, 224, 224, 288)


def test_small_images_stay_as_they_are() -> None:
    """At the pretraining's size and below there is nothing to tell."""
    found = sides(full=224, train="all", epochs=3, size="auto")
    assert found.by_epoch == (224, 224, 224)
    assert found.remark() is None


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
    seen = seen_by(made, "conv1")
    made.fit()
    assert seen[True][0] == 16
    assert seen[True][-1] == SIZE
    assert set(seen[False][1:]) == {SIZE}, "but for the first, which asks whether the network takes 16"


def test_it_trains_on_smaller_images_than_it_answers(job: MakeJob, capsys: pytest.CaptureFixture[str]) -> None:
    """All epochs but the last are smaller, which is said."""
    made = job(train="all", epochs=3, size=SMALL)
    seen = seen_by(made, "conv1")
    loop.fit(made.adapted, made.training_job, Reporter("test", Console(soft_wrap=True)), lambda _: None)
    steps = len(seen[True]) // 3
    assert seen[True] == [SMALL] * 2 * steps + [SIZE] * steps
    assert f"trains on {SMALL} of {SIZE} pixels" in capsys.readouterr().out


@pytest.mark.parametrize("views", [0, 2])
def test_kept_features_have_the_size_of_the_epoch(job: MakeJob, tmp_path: Path, views: int) -> None:
    """With a store, without one and from images the same is trained, at one size and answered at another."""
    losses, states = [], []
    cache = Cache(tmp_path / "activations", 1 << 30, "data")
    for place, kept in enumerate((cache, None)):
        made = job(place=f"attempt{place}", views=views, **LAST_STAGES)
        made = Job(made.adapted, replace(made.training_job, cache=kept))
        seen = seen_by(made, "stage3.0")
        losses.append([row["val_loss"] for row in made.fit().history])
        states.append(made.state())
        assert set(seen[True]) == {SMALL // 8, SIZE // 8}
        assert set(seen[False]) >= {SIZE // 8}
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    for key, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][key], atol=1e-4, rtol=1e-4, msg=key)
    of_training = max(1, views)
    whole = of_training + (views > 0)  # of the last epoch, and what is validated on
    assert len(list(cache.folder.glob(f"*{SUFFIX}"))) == of_training + whole


@pytest.mark.parametrize("settings", [{"train": "all", "size": SMALL, "epochs": 3}, LAST_STAGES])
def test_stopped_and_resumed_it_trains_the_same(job: MakeJob, settings: dict[str, Any]) -> None:
    """Whichever step it is stopped behind, also where the size changes."""
    whole = job(place="whole", **settings)
    whole.fit()
    parts = job(place="parts", checkpoint_seconds=ALWAYS, **settings)
    for _ in range(3):
        parts = job(place="parts", checkpoint_seconds=ALWAYS, **settings)
        reporter = StopsItself("test", Console(quiet=True))
        with pytest.raises(StoppedError):
            loop.fit(parts.adapted, parts.training_job, reporter, lambda _: None)
        stopping.forget()
    parts = job(place="parts", **settings)
    parts.fit()
    assert same(whole.state(), parts.state())


def test_a_network_of_one_size_trains_on_whole_images() -> None:
    """Unless another was written, and says so."""
    found = sides("vit_b_16", 288, train="all", epochs=2, size="auto")
    assert found.by_epoch == (288, 288)
    assert found.remark() == "the network takes no images of 224 pixels: trains on whole ones, of 288"


FITS_NOT = [
    ("vit_b_16", {"start_size": 16}, "images of 16 pixels, which 'start_size: 16'"),
    ("vit_b_16", {"size": 16}, "images of 16 pixels, which 'size: 16'"),
    ("mobilenet_v2", {"start_size": 64}, "'start_size: 64' is more than the images have: data.size is 32"),
    ("mobilenet_v2", {"size": 64}, "'size: 64' is more than the images have: data.size is 32"),
    ("mobilenet_v2", {"size": 16, "start_size": 24}, "'start_size: 24' is more than it grows to, 'size: 16'"),
]


@pytest.mark.parametrize(("name", "settings", "match"), FITS_NOT)
def test_a_side_that_does_not_fit_is_one_sentence(name: str, settings: dict[str, Any], match: str) -> None:
    """The network takes no other size, or the images are smaller."""
    with pytest.raises(UserError, match=match):
        sides(name, SIZE, train="all", epochs=3, **settings)
