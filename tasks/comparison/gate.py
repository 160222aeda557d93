"""Whether a challenger takes the champion's place: both have answered the same images, which neither was trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from tasks.arrays import Flags, Floats, Integers
from tasks.comparison import statistics
from tasks.comparison.statistics import METRIC_NAMES
from tasks.params import RetrainParams
from tasks.record import Record


@dataclass(frozen=True)
class Answered:
    """What champion and challenger said of the same images.

    Attributes:
        classes: names, in the order of the probabilities.
        targets: the images' classes, shape (images,).
        champion, challenger: probabilities, shape (images, classes).
        parts: named parts of the images, none of which may become worse, as masks of shape (images,).
        seconds: that champion and challenger take for an image.
    """

    classes: list[str]
    targets: Integers
    champion: Floats
    challenger: Floats
    parts: Mapping[str, Flags]
    seconds: tuple[float, float]


class Check(Record):
    """One thing that was asked of the challenger."""

    name: str
    kind: Literal["metric", "class", "part", "calibration", "latency"]
    passed: bool
    sentence: str
    images: int
    champion: float | None
    challenger: float | None
    limit: float


class Ruling(Record):
    """What the gate decides, and why."""

    promote: bool
    reason: str
    images: int = Field(description="test images that both answered and neither was trained on")
    checks: list[Check] = Field(default=[])


def judge(answered: Answered, params: RetrainParams, metric: str, seed: int = 0) -> Ruling:
    """Decide whether the challenger is promoted: every check must pass.

    - The metric must be better by more than noise: the paired bootstrap interval of the difference lies above 0. With
      ``rule: not_worse`` it is enough that the difference is not negative and its interval lies above ``-margin``.
    - No class and no part may lose more accuracy than ``max_part_drop`` where that is more than noise (McNemar); each
      is asked for itself, so that the gate rather refuses once too often. Those with fewer images than
      ``part_images`` are not asked.
    - The expected calibration error may not rise by more than ``max_ece_rise`` where that is more than noise.
    - An image may not take longer than ``max_slowdown`` times as long.
    """
    count = len(answered.targets)
    if count < params.min_images:
        return Ruling(
            promote=False,
            reason=f"{count} test images that the champion wasn't trained on are too few to tell (retrain.min_images "
            f"is {params.min_images})",
            images=count,
        )
    counts = statistics.draw(count, params.resamples, seed)
    checks = [
        _metric(answered, counts, params, metric),
        *_classes(answered, params),
        *_parts(answered, params),
        _calibration(answered, counts, params),
        _latency(answered, params),
    ]
    failed = [check.sentence for check in checks if not check.passed]
    return Ruling(promote=not failed, reason="; ".join(failed or [checks[0].sentence]), images=count, checks=checks)


def _metric(answered: Answered, counts: statistics.Counts, params: RetrainParams, metric: str) -> Check:
    images, name = len(answered.targets), METRIC_NAMES[metric]
    score = statistics.METRICS[metric]
    once = np.ones((1, images), dtype=np.float32)
    before, now = (float(score(once, answered.targets, p)[0]) for p in (answered.champion, answered.challenger))
    limit = 0.0 if params.rule == "better" else -params.margin
    if not (np.isfinite(before) and np.isfinite(now)):
        sentence = f"the {name} of {images} test images of one class is undefined"
        return Check(
            name=metric, kind="metric", passed=False, sentence=sentence, images=images, champion=None, challenger=None,
            limit=limit,
        )  # fmt: skip
    resampled, resampled_before = (score(counts, answered.targets, p) for p in (answered.challenger, answered.champion))
    paired = statistics.paired(now, before, resampled, resampled_before, params.confidence)
    passed = paired.low > limit and (params.rule == "better" or paired.difference >= 0)
    judged = {
        ("better", True): "is better by more than noise",
        ("better", False): "is not better by more than noise",
        ("not_worse", True): f"is not worse (margin {params.margin:g})",
        ("not_worse", False): f"may be worse (margin {params.margin:g})",
    }[params.rule, passed]
    sentence = (
        f"the challenger {judged}: {name} {now:.3f} against the champion's {before:.3f} on {images} test images, "
        f"{paired.difference:+z.3f} [{paired.low:+z.3f}, {paired.high:+z.3f}] at {params.confidence:.0%}"
    )
    return Check(
        name=metric, kind="metric", passed=bool(passed), sentence=sentence, images=images, champion=before,
        challenger=now, limit=limit,
    )  # fmt: skip


def _classes(answered: Answered, params: RetrainParams) -> list[Check]:
    masks = {name: answered.targets == place for place, name in enumerate(answered.classes)}
    asked = {name: mask for name, mask in masks.items() if mask.sum() >= params.part_images}
    return [_accuracy(answered, name, mask, "class", params) for name, mask in asked.items()]


def _parts(answered: Answered, params: RetrainParams) -> list[Check]:
    asked = {name: mask for name, mask in answered.parts.items() if mask.sum() >= params.part_images}
    return [_accuracy(answered, name, mask, "part", params) for name, mask in asked.items()]


def _accuracy(
    answered: Answered, name: str, mask: Flags, kind: Literal["class", "part"], params: RetrainParams
) -> Check:  # fmt: skip
    targets = answered.targets[mask]
    right, was_right = (p[mask].argmax(axis=1) == targets for p in (answered.challenger, answered.champion))
    now, before = float(right.mean()), float(was_right.mean())
    is_noise = statistics.mcnemar(right, was_right) > 1 - params.confidence
    passed = before - now <= params.max_part_drop or is_noise
    what = f"the class '{name}'" if kind == "class" else name
    falls = f"falls from {before:.3f} to {now:.3f}" if now < before else f"is {now:.3f} after {before:.3f}"
    return Check(
        name=name,
        kind=kind,
        passed=bool(passed),
        sentence=f"the accuracy on {what} {falls} ({len(targets)} images, at most {params.max_part_drop:g} less)",
        images=len(targets),
        champion=before,
        challenger=now,
        limit=params.max_part_drop,
    )


def _calibration(answered: Answered, counts: statistics.Counts, params: RetrainParams) -> Check:
    once = np.ones((1, len(answered.targets)), dtype=np.float32)

    def errors(drawn: statistics.Counts) -> list[Floats]:
        return [
            statistics.calibration_error(drawn, answered.targets, probabilities)
            for probabilities in (answered.champion, answered.challenger)
        ]

    before, now = (float(error[0]) for error in errors(once))
    resampled_before, resampled = errors(counts)
    paired = statistics.paired(now, before, resampled, resampled_before, params.confidence)
    passed = paired.difference <= params.max_ece_rise or paired.low <= 0
    goes = "rises" if now > before else "goes"
    return Check(
        name="ece",
        kind="calibration",
        passed=bool(passed),
        sentence=f"the calibration error {goes} from {before:.3f} to {now:.3f} (at most {params.max_ece_rise:g} more)",
        images=len(answered.targets),
        champion=before,
        challenger=now,
        limit=params.max_ece_rise,
    )


def _latency(answered: Answered, params: RetrainParams) -> Check:
    before, now = answered.seconds
    return Check(
        name="seconds",
        kind="latency",
        passed=now <= params.max_slowdown * before,
        sentence=f"an image takes {1000 * now:.1f} ms after {1000 * before:.1f} ms (at most {params.max_slowdown:g} "
        "times as long)",
        images=len(answered.targets),
        champion=before,
        challenger=now,
        limit=params.max_slowdown,
    )
