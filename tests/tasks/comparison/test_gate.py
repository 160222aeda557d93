"""The gate: what is better by more than noise and nowhere worse is promoted, anything else is refused and says why."""

from typing import Any

import numpy as np
import pytest

from tasks.arrays import Floats
from tasks.comparison.gate import Answered, Check, Ruling, judge
from tasks.params import RetrainParams

CLASSES = ["broken", "intact"]
PARAMS = RetrainParams(resamples=500)


def answers(targets: np.ndarray, skill: float, seed: int) -> Floats:
    """Return probabilities that know the more of the classes the larger the skill is."""
    rng = np.random.default_rng(seed)
    odds = np.exp(skill * np.eye(2)[targets] + rng.normal(size=(len(targets), 2)))
    probabilities: Floats = odds / odds.sum(axis=1, keepdims=True)
    return probabilities


def answered(skill: float, skill_now: float, images: int = 200, **instead: Any) -> Answered:
    """Return answers of a champion and a challenger of some skill."""
    targets = np.arange(images) % 2
    given: dict[str, Any] = {
        "classes": CLASSES,
        "targets": targets,
        "champion": answers(targets, skill, 1),
        "challenger": answers(targets, skill_now, 2),
        "parts": {},
        "seconds": (0.01, 0.01),
    }
    return Answered(**given | instead)


def check(ruling: Ruling, name: str) -> Check:
    """Return a check by its name."""
    return next(asked for asked in ruling.checks if asked.name == name)


@pytest.mark.parametrize(
    ("champion", "challenger", "promoted"), [(1.0, 3.0, True), (2.0, 2.0, False), (3.0, 1.0, False)]
)
def test_only_what_is_better_by_more_than_noise_is_promoted(
    champion: float, challenger: float, promoted: bool
) -> None:  # fmt: skip
    """The reason has both scores and the interval of their difference."""
    ruling = judge(answered(champion, challenger), PARAMS, "auroc")
    assert ruling.promote == promoted
    asked = check(ruling, "auroc")
    assert asked.passed == promoted
    assert (
        f"AUROC {asked.challenger:.3f} against the champion's {asked.champion:.3f} on 200 test images" in ruling.reason
    )


def test_a_good_score_on_few_images_is_noise() -> None:
    """What 400 images show, 24 do not; and on fewer than asked for nothing is decided."""
    assert judge(answered(1.5, 2.2, 400), PARAMS, "accuracy").promote
    few = judge(answered(1.5, 2.2, 24), PARAMS, "accuracy")
    assert not few.promote
    assert "not better by more than noise" in few.reason
    fewer = judge(answered(0, 9, 12), PARAMS, "accuracy")
    assert not fewer.promote
    assert "12 test images" in fewer.reason
    assert fewer.checks == []


def test_not_worse_may_be_enough() -> None:
    """The same answers: no gain, no loss. Slightly worse ones are refused, though they are within the noise."""
    same = answered(2.0, 2.0)
    same = answered(2.0, 2.0, challenger=same.champion)
    assert not judge(same, PARAMS, "auroc").promote
    rule = PARAMS.model_copy(update={"rule": "not_worse"})
    assert judge(same, rule, "auroc").promote
    worse = same.champion.copy()
    worse[:2] = worse[:2, ::-1]
    assert not judge(answered(2.0, 2.0, challenger=worse), rule, "accuracy").promote


def test_a_class_that_is_given_up_for_the_others_is_named() -> None:
    """The score rises as a whole, one class of three loses."""
    targets = np.arange(300) % 3
    right, wrong = np.eye(3) * 0.8 + 0.1, np.roll(np.eye(3), 1, axis=1) * 0.8 + 0.1
    champion = np.where((targets == 0)[:, None], right[targets], wrong[targets])
    challenger = np.where((targets == 0)[:, None] & (np.arange(300) % 4 == 0)[:, None], wrong[targets], right[targets])
    ruling = judge(
        answered(0, 0, classes=["a", "b", "c"], targets=targets, champion=champion, challenger=challenger),
        PARAMS,
        "accuracy",
    )
    assert check(ruling, "accuracy").passed
    assert not ruling.promote
    assert "the accuracy on the class 'a' falls from 1.000 to 0.75" in ruling.reason
    assert "class 'b'" not in ruling.reason


def test_many_wrongly_labelled_images_do_not_outvote_the_earlier_ones() -> None:
    """A challenger that learned swapped labels is better on a test split that has mostly such; the champion stays."""
    truth = np.arange(200) % 2
    earlier = np.arange(200) < 60
    labels = np.where(earlier, truth, 1 - truth)
    champion, challenger = answers(truth, 3.0, 1), answers(1 - truth, 3.0, 2)
    parts = {"the earlier test images": earlier, "the new test images": ~earlier}
    ruling = judge(
        answered(0, 0, targets=labels, champion=champion, challenger=challenger, parts=parts), PARAMS, "auroc"
    )
    assert check(ruling, "auroc").passed
    assert not ruling.promote
    assert "the accuracy on the earlier test images falls" in ruling.reason


def test_parts_of_few_images_are_not_asked() -> None:
    """Chance decides on them."""
    few = np.arange(200) < PARAMS.part_images - 1
    given = answered(1.0, 3.0, parts={"few": few, "more": np.arange(200) < PARAMS.part_images})
    assert [c.name for c in judge(given, PARAMS, "auroc").checks if c.kind == "part"] == ["more"]


def test_probabilities_that_say_nothing_are_refused() -> None:
    """The order of the images improves, but every answer is nearly 50 %."""
    flat = answered(1.0, 2.0).challenger ** 0.02
    given = answered(1.0, 2.0, challenger=flat / flat.sum(axis=1, keepdims=True))
    ruling = judge(given, PARAMS, "auroc")
    assert check(ruling, "auroc").passed
    assert ruling.reason.startswith("the calibration error rises from")


def test_slowness_is_refused() -> None:
    """An image that takes three times as long is not worth it."""
    ruling = judge(answered(1.0, 3.0, seconds=(0.010, 0.030)), PARAMS, "auroc")
    assert not ruling.promote
    assert ruling.reason == "an image takes 30.0 ms after 10.0 ms (at most 1.5 times as long)"


def test_images_of_one_class_tell_nothing_of_an_auroc() -> None:
    """That is said, and nothing is promoted."""
    ruling = judge(answered(1.0, 3.0, targets=np.zeros(200, dtype=np.int64)), PARAMS, "auroc")
    assert not ruling.promote
    assert "the AUROC of 200 test images of one class is undefined" in ruling.reason
