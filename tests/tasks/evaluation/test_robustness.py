"""Scores on corrupted images of classifiers that were fitted on real ones."""

from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tasks.arrays import Floats, Integers
from tasks.evaluation import metrics
from tasks.evaluation.corruptions import KINDS, SEVERITIES, corrupt
from tasks.evaluation.robustness import (
    A_SEVERITY,
    Part,
    Robustness,
    WorstGroup,
    corrupted,
    parts_of,
    robustness,
    stratified,
    worst_group,
)
from tasks.training.batches import Split, inference_batches
from tasks.training.device import Hardware
from tasks.training.inference import predict as network_predict
from tests.tasks.networks import network, split_cells, strategy

CPU = Hardware(torch.device("cpu"), bfloat16=False)


@pytest.fixture(scope="module")
def splits(cells: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Split, Split]:
    """48 training and 32 validation images at 32 pixels, both classes alike."""
    return split_cells(cells, tmp_path_factory.mktemp("store") / "pixels.npy", 24)


def pixels_of(split: Split) -> Floats:
    """Return the images of a split, read batch by batch, as rows of numbers."""
    return torch.cat(list(inference_batches(split))).flatten(1).double().numpy()


class OnPixels:
    """A linear classifier on pixels; remembers what it was asked."""

    def __init__(self, train: Split) -> None:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
        self.model = model.fit(pixels_of(train), train.targets.numpy())
        self.asked: list[Split] = []

    def __call__(self, split: Split) -> Floats:
        """Return the probabilities of a split."""
        self.asked.append(split)
        probabilities: Floats = self.model.predict_proba(pixels_of(split))
        return probabilities


def measured_of(classifier: OnPixels, split: Split, images: int | None = None, seed: int = 0) -> Robustness:
    """Return what corruption leaves of the probability of the truth; what is asked besides is forgotten."""
    clean = classifier(split)
    classifier.asked.clear()
    return robustness(classifier, split, clean, likelihood, images, seed)


def likelihood(targets: Integers, probabilities: Floats) -> float:
    """Return the mean probability of the truth."""
    return float(probabilities[np.arange(len(targets)), targets].mean())


def test_a_corrupted_split_gives_corrupted_images(splits: tuple[Split, Split]) -> None:
    """Its batches are the corrupted images of its own rows, with their targets; the store stays as it was."""
    split = Split(splits[1].store, splits[1].rows[::-1].copy(), splits[1].targets.flip(0))
    before = np.array(split.store)
    places = [np.array([0, 3, 4, *range(5, 25)]), np.array([1]), np.array([], dtype=np.int64), np.array([31, 2])]
    parts = [
        Part(kind, severity, chosen, split.rows[chosen])
        for kind, severity, chosen in zip(KINDS, (3, 1, 2, 5), places, strict=False)
    ]
    made_worse = corrupted(split, parts, seed=5)
    assert made_worse.store.shape == (26, *split.store.shape[1:])
    assert torch.equal(made_worse.targets, split.targets[np.concatenate(places)])
    images = torch.cat(list(inference_batches(made_worse))).permute(0, 2, 3, 1).numpy()
    expected = [corrupt(before, part.kind, part.severity, 5)[part.rows] for part in parts]
    assert np.array_equal(images, np.concatenate(expected))
    assert np.array_equal(split.store, before)


def test_a_network_predicts_a_corrupted_split(splits: tuple[Split, Split]) -> None:
    """A corrupted split is predicted as any other, and its answers are those of the images written out."""
    adapted, _ = network("shufflenet_v2_x0_5", strategy(train="all"))
    split = splits[1]
    written = Split(corrupt(split.store, "noise", 5, 0), split.rows, split.targets)
    everything = [Part("noise", 5, np.arange(len(split)), split.rows)]
    predicted = network_predict(adapted, corrupted(split, everything, 0), CPU)
    assert torch.equal(predicted, network_predict(adapted, written, CPU))
    assert not torch.equal(predicted, network_predict(adapted, split, CPU))


def test_scores_fall_with_the_severity(splits: tuple[Split, Split]) -> None:
    """A classifier on pixels loses by what changes pixels, most by the most, and the summary is that of its scores."""
    train, _ = splits
    measured = measured_of(OnPixels(train), train)
    assert measured.clean is not None
    assert measured.images == len(train)
    assert list(measured.scores) == list(KINDS)
    scores = np.array(list(measured.scores.values()), dtype=float)
    assert scores.shape == (len(KINDS), len(SEVERITIES))
    assert (scores[:, -1] < measured.clean).all()
    assert (np.diff(scores.mean(axis=0)) < 0).all()
    assert measured.mean == pytest.approx(fmean(scores.ravel()))
    assert measured.relative_drop == pytest.approx((measured.clean - scores.mean()) / measured.clean)


def test_every_strategy_sees_the_same_images(splits: tuple[Split, Split]) -> None:
    """The same draw of images at most as many as asked for, corrupted the same way; another seed draws others."""
    train, val = splits
    first, second, other = OnPixels(train), OnPixels(train), OnPixels(train)
    measured = measured_of(first, val, images=10)
    assert measured_of(second, val, images=10) == measured
    measured_of(other, val, images=10, seed=1)
    assert measured.images == 10
    (drawn,), (same,), (another,) = first.asked, second.asked, other.asked
    assert np.array_equal(pixels_of(drawn), pixels_of(same))
    assert not np.array_equal(pixels_of(drawn), pixels_of(another))
    assert drawn.targets.bincount().tolist() == [5 * 25, 5 * 25], "so few images are seen under every corruption"


def test_an_undefined_metric_stays_undefined(splits: tuple[Split, Split]) -> None:
    """Where images of a single class leave nothing to rank there is no score, no mean and no drop."""
    train, val = splits
    single = Split(val.store, val.rows[val.targets == 1], val.targets[val.targets == 1])
    model = OnPixels(train)
    measured = robustness(model, single, model(single), lambda t, p: metrics.scores(t, p)["auroc"], images=4)
    assert measured.clean is None
    assert set(measured.scores["blur"]) == {None}
    assert measured.mean is None
    assert measured.relative_drop is None


@given(sizes=st.lists(st.integers(0, 150), min_size=1, max_size=5).filter(any), seed=st.integers(0, 2**32 - 1))
def test_every_image_is_seen_under_every_kind(sizes: list[int], seed: int) -> None:
    """At one severity each, if there are enough, another fifth for every kind, and classes alike."""
    targets = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    images, rows = len(targets), np.arange(len(targets)) + 7
    parts = parts_of(Split(np.zeros((0, 1, 1, 1), dtype=np.uint8), rows, torch.from_numpy(targets)), seed)
    assert [(part.kind, part.severity) for part in parts] == [(kind, s) for kind in KINDS for s in SEVERITIES]
    seen = np.zeros((len(KINDS), len(SEVERITIES), images), dtype=np.int64)
    for part in parts:
        assert np.array_equal(part.rows, rows[part.places])
        seen[KINDS.index(part.kind), part.severity - 1, part.places] = 1
    times = min(5, -(-5 * A_SEVERITY // images))
    assert (seen.sum(axis=1) == times).all()
    assert (seen.sum(axis=0) == times).all(), "over the kinds, every severity is of all images"
    assert np.ptp(seen.sum(axis=2)) <= 1 * times
    for c, size in enumerate(sizes):
        assert np.abs(seen[:, :, targets == c].sum(axis=2) - times * size / 5).max(initial=0) <= times


def test_what_is_lost_is_lost_by_the_same_images() -> None:
    """A model whose answers nothing changes loses nothing, though each severity has images of its own."""
    rng = np.random.default_rng(0)
    targets = torch.from_numpy(rng.integers(0, 2, 400))
    split = Split(rng.integers(0, 255, (400, 4, 4, 1)).astype(np.uint8), np.arange(400), targets)
    clean = rng.dirichlet([1, 1], 400)
    parts = parts_of(split, 0)
    places = np.concatenate([part.places for part in parts])
    assert len(places) == 5 * 400
    measured = robustness(lambda _: clean[places], split, clean, lambda t, p: metrics.scores(t, p)["macro_f1"])
    assert measured.relative_drop == 0
    assert measured.images == 400
    assert len({score for of_kind in measured.scores.values() for score in of_kind}) > 1


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any),
    count=st.integers(1, 100),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_stratified_draw_keeps_the_shares(sizes: list[int], count: int, seed: int) -> None:
    """As many images as asked for or there are, each once; classes keep their shares to within an image or two."""
    targets = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    chosen = stratified(targets, count, seed)
    assert len(chosen) == min(count, len(targets))
    assert (np.diff(chosen) > 0).all()
    assert np.array_equal(stratified(targets, count, seed), chosen)
    assert set(chosen) <= set(stratified(targets, count + 5, seed))
    present = np.unique(targets)
    drawn = np.array([(targets[chosen] == c).sum() for c in present])
    if count >= len(present):
        assert (drawn >= 1).all()
        wanted = len(chosen) * np.array(sizes)[present] / len(targets)
        assert np.abs(drawn - wanted).max() <= len(present)


def groups_of(**accuracies: tuple[float | None, int]) -> dict[str, dict[str, float | None]]:
    """Return groups with an accuracy, its opposite as a loss, and a number of images."""
    return {
        name: {"accuracy": accuracy, "log_loss": None if accuracy is None else 1 - accuracy, "images": images}
        for name, (accuracy, images) in accuracies.items()
    }


def test_the_worst_group_is_found() -> None:
    """The lowest score, or the highest loss, among the groups that are large enough and have one."""
    groups = groups_of(good=(0.9, 50), bad=(0.4, 20), few=(0.1, 19), undefined=(None, 90))
    assert worst_group(groups, "accuracy") == WorstGroup(name="bad", score=0.4, images=20)
    assert worst_group(groups, "log_loss") == WorstGroup(name="bad", score=0.6, images=20)
    assert worst_group(groups, "accuracy", smallest=1) == WorstGroup(name="few", score=0.1, images=19)
    assert worst_group(groups, "accuracy", smallest=30) == WorstGroup(name="good", score=0.9, images=50)
    assert worst_group(groups, "accuracy", smallest=91) is None
    assert worst_group({}, "accuracy") is None


def test_the_worst_group_of_real_scores() -> None:
    """Groups as the metrics return them are understood."""
    targets = np.array([0, 1] * 30)
    probabilities = np.eye(2)[np.where(np.arange(60) < 30, targets, 0)]
    groups = metrics.by_group(targets, probabilities, ["mono"] * 30 + ["poly"] * 30)
    assert worst_group(groups, "accuracy") == WorstGroup(name="poly", score=0.5, images=30)
