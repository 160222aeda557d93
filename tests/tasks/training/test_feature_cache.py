"""Epochs that start at the thaw line give what epochs that start with the image give."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from tasks.data.augmentation import Augmentation
from tasks.params import AugmentParams
from tasks.training import feature_cache, inputs, loop
from tasks.training.activations import SUFFIX, Cache
from tasks.training.device import Hardware
from tasks.training.features import features, features_of_head
from tasks.training.frozen_trunk import FrozenTrunk
from tasks.training.inference import predict
from tasks.training.inputs import DEFAULT_VIEWS
from tasks.training.model_state import fill
from tasks.training.progress import Reporter
from tests.tasks.networks import network, strategy
from tests.tasks.training.conftest import CPU, STEPS, Job, MakeJob, Splits, same

UNCHANGED = Augmentation(AugmentParams(flips=False, quarter_turns=False), upright=False)
STRATEGIES: dict[str, dict[str, Any]] = {
    "head_only": {"train": "head", "epochs": 2},
    "solved": {"train": "head", "solver": "lbfgs", "views": 2},
    "mlp_head": {"train": "head", "head": {"kind": "mlp", "hidden": 8}, "epochs": 2},
    "new_layers": {"train": "head", "head": {"kind": "on_top", "hidden": 8}, "epochs": 2},
    "freeze_first": {"train": ["stages[1:]", "head"], "epochs": 2},
    "last_stage": {"train": ["stages[-1]", "head"], "epochs": 2, "batchnorm": "train"},
    "lp_ft": {"phases": [{"train": "head", "solver": "lbfgs"}, {"train": ["stages[2:]", "head"], "epochs": 1}]},
    "gradual": {"train": ["stages[2:]", "head"], "gradual": 1, "epochs": 3},
    "milestones": {"milestones": {0: "head", 1: "stages[-1]"}, "epochs": 3},
    "and_back": {"phases": [{"train": ["stages[-1]", "head"], "epochs": 1}, {"train": "head", "epochs": 2}]},
    "and_back_averaged": {
        "phases": [{"train": ["stages[-1]", "head"], "epochs": 1}, {"train": "head", "epochs": 2}],
        "ema": 0.5,
    },
    "steps_then_solved": {"phases": [{"train": "head", "epochs": 2}, {"train": "head", "solver": "lbfgs"}], "views": 2},
    "norms_only": {"train": ["stages[1:]", "head"], "only": "norms", "epochs": 2},
    "lora": {"train": ["stages[-1]", "head"], "adapters": {"kind": "lora", "rank": 2}, "epochs": 2},
    "half": {"train": ["stages[-1]", "head"], "precision": "auto", "frozen_precision": "bfloat16", "epochs": 2},
}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """A folder for activations."""
    return Cache(tmp_path / "activations", 1 << 30, "data")


def with_(job: Job, **changes: Any) -> Job:
    """Return a fine-tuning with some of what it is given changed."""
    return Job(job.adapted, replace(job.training_job, **changes))


def stores(cache: Cache) -> dict[str, tuple[int, int]]:
    """Return when each store was written last, and its length."""
    return {p.name: (p.stat().st_ctime_ns, p.stat().st_size) for p in cache.folder.glob(f"*{SUFFIX}")}


@pytest.mark.parametrize("name", STRATEGIES)
def test_with_and_without_the_store(job: MakeJob, cache: Cache, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Kept activations, activations computed anew, and images train the same network within float tolerance."""
    settings, outcomes, losses = STRATEGIES[name], [], []
    hidden = {"hardware": Hardware(torch.device("cpu"), bfloat16=name == "half"), "augment": UNCHANGED}
    for place, kept in enumerate((cache, None, None)):
        if place == 2:
            monkeypatch.setattr(inputs, "frozen_trunk", lambda *_: None)
        made = with_(job(place=f"attempt{place}", **settings), cache=kept, **hidden)
        losses.append([row["val_loss"] for row in made.fit().history])
        outcomes.append(made.state())
    assert stores(cache), "the strategy has a beginning to keep"
    tolerance = 2e-2 if name == "half" else 1e-4
    for others, loss in zip(outcomes[1:], losses[1:], strict=True):
        assert loss == pytest.approx(losses[0], abs=tolerance)
        for key, tensor in outcomes[0].items():
            torch.testing.assert_close(tensor, others[key], atol=tolerance, rtol=tolerance, msg=key)


def test_a_solved_head_is_what_an_average_starts_from(job: MakeJob) -> None:
    """A moving average of the weights does not bring back the head from before."""
    plain = job(train="head", solver="lbfgs").fit()
    averaged = job(place="averaged", train="head", solver="lbfgs", ema=0.9).fit()
    assert averaged.best_loss == pytest.approx(plain.best_loss, abs=1e-5)


def test_strategies_and_seeds_share_what_is_kept(job: MakeJob, cache: Cache) -> None:
    """A second strategy with the same thaw line, another seed and another head writes nothing."""
    first = with_(job(train="head", epochs=1), cache=cache)
    first.fit()
    before = set(stores(cache))
    other = with_(job(place="other", train="head", epochs=1, seed=3, head={"kind": "cosine"}), cache=cache)
    fill(other.adapted.model, {key: value for key, value in first.state().items() if not key.startswith("fc.")})
    other.fit()
    assert set(stores(cache)) == before


def test_nothing_is_computed_twice(job: MakeJob, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once everything is kept, the frozen layers see no image of the splits any more."""
    with_(job(train=["stages[-1]", "head"], epochs=2), cache=cache).fit()

    def refuse(*_: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(FrozenTrunk, "compute", refuse)
    with_(job(place="again", train=["stages[-1]", "head"], epochs=2), cache=cache).fit()


PAUSING: dict[str, tuple[dict[str, Any], dict[int | None, int]]] = {
    "steps": (
        {"train": ["stages[-1]", "head"], "epochs": 3},
        {STEPS // 2: 24 + 32, STEPS: 24, STEPS + 2: 16, None: 32},
    ),
    "as they are": ({"train": "head", "epochs": 3}, {STEPS // 2: 24 + 32, STEPS + 2: 24, None: 0}),
    "solved": (
        {"phases": [{"train": "head", "solver": "lbfgs"}, {"train": ["stages[2:]", "head"], "epochs": 2}]},
        {STEPS // 2: 48 + 32, STEPS + 2: 16 + 32, None: 80},
    ),
}


@pytest.mark.parametrize("name", PAUSING)
def test_up_to_a_pause_no_more_is_computed_than_was_shown(
    job: MakeJob, cache: Cache, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Frozen layers see an image once, in a version and when steps before the pause show it; bits are as without one.

    There are 48 training and 32 validation images, and two versions of the former.
    """
    (settings, expected), computed, plain = PAUSING[name], [], FrozenTrunk.compute_filled_up

    def counting(trunk: FrozenTrunk, images: torch.Tensor) -> torch.Tensor:
        computed.append(len(images))
        return plain(trunk, images)

    monkeypatch.setattr(FrozenTrunk, "compute_filled_up", counting)
    counts = {}
    for until in expected:
        paused = with_(job(place="paused", **settings), cache=cache, until=until)
        paused.fit()
        counts[until] = sum(computed)
        computed.clear()
    assert counts == expected
    for place, elsewhere in {"whole": replace(cache, folder=cache.folder / "whole"), "not kept": None}.items():
        whole = with_(job(place=place, **settings), cache=elsewhere)
        whole.fit()
        assert same(whole.state(), paused.state()), place


@pytest.mark.parametrize("harm", ["cut short", "flipped"])
def test_a_damaged_store_is_made_anew(job: MakeJob, cache: Cache, harm: str) -> None:
    """What a damaged store had is computed again; the result is the undamaged one's to the bit."""
    settings: dict[str, Any] = {"train": ["stages[-1]", "head"], "epochs": 2}
    made = with_(job(**settings), cache=cache)
    made.fit()
    for path in cache.folder.glob(f"*{SUFFIX}"):
        content = bytearray(path.read_bytes())
        content[1] ^= 1
        path.write_bytes(content[:-1] if harm == "cut short" else content)
    again = with_(job(place="again", **settings), cache=cache)
    again.fit()
    assert all(torch.equal(tensor, again.state()[key]) for key, tensor in made.state().items())


def test_other_weights_and_other_data_are_other_stores(job: MakeJob, cache: Cache) -> None:
    """A store is found by all that it depends on."""
    with_(job(train="head", epochs=1), cache=cache).fit()
    first = set(stores(cache))
    moved = with_(job(place="moved", train="head", epochs=1), cache=cache)
    moved.adapted.model.get_parameter("conv1.0.weight").data[0, 0, 0, 0] += 1e-3
    moved.fit()
    second = set(stores(cache))
    with_(job(place="data", train="head", epochs=1), cache=replace(cache, data="other")).fit()
    assert len(first) == 1
    assert len(second - first) == 1
    assert len(set(stores(cache)) - second) == 1


def test_a_full_disk_is_no_reason_to_stop(
    job: MakeJob, cache: Cache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without space for the activations the same network is trained, and the reason is said."""
    settings: dict[str, Any] = {"train": ["stages[-1]", "head"], "epochs": 2}
    kept = with_(job(**settings), cache=cache)
    kept.fit()
    monkeypatch.setattr(feature_cache, "Reporter", Reporter)
    without = with_(job(place="full", **settings), cache=replace(cache, folder=cache.folder / "none", limit=1))
    loop.fit(without.adapted, without.training_job, Reporter("test", Console(soft_wrap=True)), lambda _: None)
    assert "is not kept, but computed in every epoch: they need" in capsys.readouterr().out
    for key, tensor in kept.state().items():
        torch.testing.assert_close(tensor, without.state()[key], atol=1e-4, rtol=1e-4)


def test_training_from_the_first_layer_keeps_nothing(job: MakeJob, cache: Cache) -> None:
    """Where the stem trains there is no frozen beginning."""
    with_(job(train=["stem", "head"], epochs=1), cache=cache).fit()
    assert not cache.folder.exists()


@pytest.mark.parametrize("views", [None, 1, 3])
def test_epochs_show_the_versions_that_are_kept(job: MakeJob, cache: Cache, views: int | None) -> None:
    """There is one store for each version, and one for the validation images as they are."""
    with_(job(train=["stages[-1]", "head"], epochs=4, views=views), cache=cache).fit()
    assert len(stores(cache)) == (views or DEFAULT_VIEWS) + 1


def test_the_probe_fills_what_the_head_alone_needs(splits: Splits, job: MakeJob, cache: Cache) -> None:
    """Features are what reaches the head, and are kept for the strategies that train it."""
    adapted, plan = network("shufflenet_v2_x0_5", strategy(train="head"))
    with features_of_head(adapted) as seen:
        predict(adapted, splits.val, CPU)
    quiet = Reporter("probe", Console(quiet=True))
    computed = features(adapted, plan, splits.val, CPU, cache, quiet)
    torch.testing.assert_close(computed, torch.cat(seen), atol=1e-4, rtol=1e-4)
    before = set(stores(cache))
    with_(job(train="head", epochs=1), cache=cache).fit()
    assert set(stores(cache)) == before
