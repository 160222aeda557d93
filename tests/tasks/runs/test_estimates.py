"""How long a job is expected to take."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.params import Params, StrategyParams
from tasks.runs import estimates
from tasks.runs.estimates import AROUND, Estimate, Images, Speeds, estimate, first_words, remember, training_seconds

PARTS = {"stem": 0.1, "stage1": 0.4, "stage2": 0.3, "head": 0.2}
SPEEDS = Speeds({"train": 0.05, "frozen": 0.03}, 0.01, PARTS)
IMAGES = Images(1000, 200, 300)
WAYS: tuple[dict[str, Any], ...] = (
    {"train": "all"},
    {"train": ["stages[-1]", "head"], "views": 3},
    {"train": "head"},
    {"train": "head", "solver": "lbfgs"},
    {"train": "all", "gradual": 1},
    {"phases": [{"train": "head", "solver": "lbfgs"}, {"train": "all", "epochs": 4}]},
    {"milestones": {"0": "head", "1": "all"}},
)


def whole(*_: object) -> float:
    """Return that all epochs have images of the working size."""
    return 1.0


def seconds(images: Images = IMAGES, speeds: Speeds = SPEEDS, **settings: Any) -> float:
    """Return the seconds of a strategy."""
    return training_seconds(StrategyParams.model_validate(settings), images, speeds, whole)


def params(**strategies: dict[str, Any]) -> Params:
    """Return params with some strategies."""
    return Params.model_validate(
        {"data": {"source": "folder", "path": "photos"}, "backbone": {"name": "resnet18"}, "strategies": strategies}
    )


@given(st.sampled_from(WAYS), st.integers(1, 5000), st.integers(1, 2000), st.integers(0, 1000), st.integers(3, 40))
def test_more_of_anything_takes_longer(way: dict[str, Any], train: int, val: int, more: int, epochs: int) -> None:
    """An estimate never falls with the number of images or of epochs."""
    settings = way if "phases" in way or "solver" in way else way | {"epochs": epochs}
    longer = way if settings is way else way | {"epochs": epochs + 1}
    before = seconds(Images(train, val, 0), **settings)
    assert before >= 0
    assert seconds(Images(train + more, val, 0), **settings) >= before
    assert seconds(Images(train, val + more, 0), **settings) >= before
    assert seconds(Images(train, val, 0), **longer) >= before


@given(st.sampled_from(WAYS))
def test_what_is_frozen_saves_time(way: dict[str, Any]) -> None:
    """No strategy takes longer than one that trains everything for as many epochs."""
    settings = StrategyParams.model_validate(way)
    epochs = sum(phase.epochs or 0 for phase in settings.schedule())
    assert seconds(**way) <= seconds(train="all", epochs=max(epochs, 1)) * 1.01


def test_an_epoch_on_images_costs_steps_and_answers() -> None:
    """A step an image that is trained on, a forward pass an image that is validated on, some time a step."""
    of_steps = 1000 / 16 * estimates.A_STEP
    assert seconds(train="all", batchnorm="train", epochs=2) == pytest.approx(2 * (1000 * 0.05 + of_steps + 200 * 0.01))
    assert seconds(train="all", batchnorm="frozen", epochs=1) == pytest.approx(1000 * 0.03 + of_steps + 200 * 0.01)
    assert seconds(train="all", soup=3, epochs=1) == pytest.approx(3 * seconds(train="all", epochs=1))


def test_the_frozen_beginning_answers_each_version_once() -> None:
    """Two versions of the training images and the validation images; the rest of the network in every epoch."""
    once = (2 * 1000 + 200) * 0.5 * 0.01
    an_epoch = 1000 * 0.5 * 0.03 + 1000 / 16 * estimates.A_STEP + 200 * 0.5 * 0.01
    of_half = {"train": ["stage2", "head"], "views": 2}
    assert seconds(**of_half, epochs=6) == pytest.approx(once + 6 * an_epoch)


def test_the_features_of_the_head_are_there_already() -> None:
    """A solved head costs nothing but what its part of the network answers for the validation images."""
    assert seconds(train="head", solver="lbfgs") == pytest.approx(200 * 0.2 * 0.01)


def test_new_layers_at_the_start_train_everything_behind_them() -> None:
    """Where the stem is new, nothing is frozen before it."""
    new = Speeds(SPEEDS.steps, SPEEDS.forward, PARTS, ("stem",))
    assert seconds(train="head", epochs=2, speeds=new) == pytest.approx(seconds(train="all", epochs=2))


def test_groups_of_ones_own_count_as_everything() -> None:
    """A name that no part has is no reason to fail: at most, all of the network trains."""
    assert seconds(train="mine", epochs=2) == pytest.approx(seconds(train="all", epochs=2))


def test_smaller_images_take_less() -> None:
    """Half the side is a quarter of the pixels that are trained on; images are validated as they are."""
    settings = StrategyParams.model_validate({"train": "all", "epochs": 1})
    small = training_seconds(settings, IMAGES, SPEEDS, lambda *_: 0.5)
    assert training_seconds(settings, IMAGES, SPEEDS, whole) - small == pytest.approx(0.75 * 1000 * 0.03)


def test_repeats_count() -> None:
    """Seeds, shares and folds add up, each on as many images as it has."""
    asked = params(full={"train": "all", "epochs": 1})
    candidates = {"full": (asked.strategy("full"), SPEEDS)}
    once = estimate(candidates, asked, IMAGES, 0, whole, measured=True).strategies["full"]
    three = asked.model_copy(update={"train": asked.train.model_copy(update={"seeds": 3})})
    assert estimate(candidates, three, IMAGES, 0, whole, measured=True).strategies["full"] == pytest.approx(3 * once)
    folded = estimate(candidates, asked, IMAGES, 4, whole, measured=True).strategies["full"]
    one_fold = seconds(Images(900, 300, 300), train="all", epochs=1)
    assert folded == pytest.approx(4 * (one_fold + AROUND))


def test_the_plan_is_a_table() -> None:
    """A line a strategy, one for the comparison, and the sum."""
    lines = Estimate(strategies={"full": 600, "head_only": 15}, comparison=45, images=2624, measured=True).lines()
    assert lines == [
        "plan: full        at most   10 min",
        "plan: head_only   at most     15 s",
        "plan: comparison  at most     45 s",
        "plan: 2 strategies on 2,624 images: at most 11 min by the speed measured on this machine",
    ]


def test_the_first_words_follow_the_last_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one they say whose speed it is; with one they are in proportion to the images, if the strategies stay."""
    monkeypatch.setattr(estimates, "PLANNED", tmp_path / "work/planned.json")
    asked = params(full={"train": "all"})
    assert "1 strategy on 500 files: at most" in first_words(asked, 500, 224)
    assert "2-core laptop" in first_words(asked, 500, 224)
    fixed = AROUND + estimates.AROUND_COMPARISON
    remember(
        Estimate(strategies={"full": AROUND + 600}, comparison=estimates.AROUND_COMPARISON, images=500, measured=True)
    )
    assert first_words(asked, 1000, 224).endswith(
        f"at most {round((fixed + 1200) / 60)} min by the speed measured here before"
    )
    assert "2-core laptop" in first_words(params(other={"train": "all"}), 500, 224)
    (tmp_path / "work/planned.json").write_text("{}")
    assert "2-core laptop" in first_words(asked, 500, 224)
