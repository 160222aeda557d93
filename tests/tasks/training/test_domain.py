"""Images are as far from a network's pretraining as what it remembers says."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_sample_images
from torch import nn
from torch.optim.swa_utils import update_bn

from tasks.backbones.architecture import Part
from tasks.strategies.stems import Normalisation
from tasks.strategies.surgery import Adapted
from tasks.training.batches import Split, inference_batches
from tasks.training.domain import Moments, divergences, pixel_distance, sample
from tests.tasks.networks import SIZE, adapt, strategy
from tests.tasks.training.conftest import CPU, whole_split

HEAD_ONLY = strategy(train="head")


@pytest.fixture(scope="module")
def photos() -> Split:
    """Squares of two photographs in colour."""
    squares = [
        photo[top : top + SIZE, left : left + SIZE]
        for photo in load_sample_images().images
        for top in range(0, 320, 80)
        for left in range(0, 560, 80)
    ]
    return whole_split(np.stack(squares), 2)


@pytest.fixture
def fitted(photos: Split) -> Adapted:
    """A network with random weights whose BatchNorms have seen the photographs."""
    adapted = adapt("shufflenet_v2_x0_5", HEAD_ONLY, channels=3)
    remember(adapted, photos)
    return adapted


def remember(adapted: Adapted, split: Split) -> None:
    """Give a network's BatchNorms the statistics of images."""
    update_bn((adapted.normalisation(images) for images in inference_batches(sample(split))), adapted.model)


def test_the_images_that_were_remembered_are_near(photos: Split) -> None:
    """Where the network has the images' own statistics, hardly any distance is left."""
    few = Split(photos.store, photos.rows[::4], photos.targets[::4])
    adapted = adapt("shufflenet_v2_x0_5", HEAD_ONLY, channels=3)
    before = divergences(adapted, few, CPU)
    remember(adapted, few)
    after = divergences(adapted, few, CPU)
    assert after["stem"] == pytest.approx(0, abs=1e-3)
    assert all(before[part] > 10 * after[part] for part in after)


def test_changed_images_are_farther(photos: Split, fitted: Adapted) -> None:
    """Colours that are exchanged and inverted are farther than the colours themselves, from the first part on."""
    inverted = Split(255 - photos.store[..., ::-1], photos.rows, photos.targets)
    near, far = divergences(fitted, photos, CPU), divergences(fitted, inverted, CPU)
    first = next(iter(near))
    assert first == "stem"
    assert far[first] > 10 * near[first]


def test_parts_come_in_the_order_of_the_network(photos: Split, fitted: Adapted) -> None:
    """Every part that has a BatchNorm has a divergence, the head has none."""
    distances = divergences(fitted, photos, CPU)
    assert list(distances) == [part.name for part in fitted.parts if part.name != "head"]


def test_measuring_changes_nothing(photos: Split, fitted: Adapted) -> None:
    """The network is as before, and the same images have the same distance."""
    before = {name: tensor.clone() for name, tensor in fitted.model.state_dict().items()}
    first = divergences(fitted, photos, CPU)
    torch.testing.assert_close(dict(fitted.model.state_dict()), before, rtol=0, atol=0)
    assert not any(module._forward_pre_hooks for module in fitted.model.modules())
    assert divergences(fitted, photos, CPU) == first


@pytest.mark.parametrize(("mean", "std"), [(0.1, 0.1), (0.5, 0.4), (0.1, 0.3)])
def test_a_known_shift_has_the_divergence_of_its_formula(mean: float, std: float) -> None:
    """For a BatchNorm on the pixels both normal distributions are known; the same ones are at no distance."""
    normalisation = Normalisation((0.0,), (1.0,))
    norm, head = nn.BatchNorm2d(1, eps=0.0), nn.Linear(16, 2)
    model = nn.Sequential(norm, nn.Flatten(), head)
    adapted = Adapted(model, (Part("stem", ("0",)), Part("head", ("1", "2"))), "2", normalisation, 2)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.fill_(mean)
    norm.running_var.fill_(std**2)
    values = np.array([0, 51] * 80, np.uint8).reshape(10, 4, 4, 1)
    before, now = torch.distributions.Normal(mean, std), torch.distributions.Normal(0.1, 0.1)
    expected = sum(torch.distributions.kl_divergence(p, q) for p, q in ((before, now), (now, before)))
    distances = divergences(adapted, whole_split(values, 2), CPU)
    assert distances == pytest.approx({"stem": float(expected)}, rel=1e-4, abs=1e-6)


def test_a_network_without_batchnorm_remembers_nothing(photos: Split) -> None:
    """Where nothing is kept of the pretraining's activations there is nothing to compare."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    parts = (Part("stem", ("0",)), Part("head", ("1", "2", "3")))
    adapted = Adapted(model, parts, "3", Normalisation((0.5,) * 3, (0.25,) * 3), 2)
    assert divergences(adapted, photos, CPU) == {}


def test_pixels_like_the_pretrainings_are_near(photos: Split) -> None:
    """With the images' own statistics the distance is zero; a shift by a standard deviation is a distance of one."""
    pixels = photos.store.reshape(-1, 3) / 255
    mean, std = pixels.mean(axis=0), pixels.std(axis=0)
    assert pixel_distance(Normalisation(tuple(mean), tuple(std)), photos) == pytest.approx(0, abs=1e-3)
    assert pixel_distance(Normalisation(tuple(mean + std), tuple(std)), photos) == pytest.approx(1, abs=1e-3)
    assert pixel_distance(Normalisation(tuple(mean), tuple(std * np.e)), photos) == pytest.approx(1, abs=1e-3)


def test_blank_images_have_a_distance() -> None:
    """Images of a single colour are far, not infinitely so."""
    blank = whole_split(np.full((4, 8, 8, 1), 128, np.uint8), 2)
    assert 1 < pixel_distance(Normalisation((0.5,), (0.25,)), blank) < 100


def test_a_sample_is_always_the_same_and_mixed(photos: Split) -> None:
    """Images stay with their classes, none is drawn twice, and a run of one class does not fill a batch."""
    ordered = Split(photos.store, photos.rows, photos.targets.sort().values)
    chosen = sample(ordered, 20)
    assert len(chosen) == len(set(chosen.rows)) == 20
    assert sample(ordered, 20).rows.tolist() == chosen.rows.tolist()
    assert chosen.targets.tolist() == ordered.targets[torch.from_numpy(chosen.rows)].tolist()
    assert set(chosen.targets.tolist()) == {0, 1}
    assert len(sample(ordered, 1000)) == len(photos)


@given(cuts=st.lists(st.integers(1, 11), max_size=3, unique=True), shift=st.floats(-1000, 1000))
def test_moments_do_not_depend_on_the_batches(cuts: list[int], shift: float) -> None:
    """However the images come, mean and variance are those of all of them."""
    values = torch.randn(12, 3, 4, 5, generator=torch.Generator().manual_seed(0)) + shift
    moments = Moments()
    for piece in torch.tensor_split(values, sorted(cuts)):
        moments.add(piece)
    variance, mean = torch.var_mean(values.double(), (0, 2, 3), correction=0)
    torch.testing.assert_close(moments.mean, mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(moments.variance, variance, rtol=1e-3, atol=1e-3)
