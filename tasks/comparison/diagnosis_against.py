"""What went wrong in a fine-tuning, read from its answers beside those of other strategies, and what to try next."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.comparison import statistics
from tasks.evaluation import curves, labels, suggestions
from tasks.evaluation.curves import Run
from tasks.evaluation.diagnosis import CHANCE, NOISE, Finding, diagnose
from tasks.evaluation.metrics import Floats, Integers
from tasks.params import CompareParams

MATTERS = 0.02  # of a metric: a smaller difference is no reason to change anything


def diagnose_against(run: Run, others: Sequence[Run], params: CompareParams) -> list[Finding]:
    """Return what a run's answers show beside those of other strategies, on the same validation images.

    Differences are of ``params.metric``, paired on the same resamples of the images.

    Args:
        run: the run in question.
        others: the other strategies' runs; those that failed count for nothing.
        params: metric, confidence and resamples of the comparison.
    """
    if run.probabilities is None:
        return []
    own = diagnose(run)
    against = _differences(run, [other for other in others if other.probabilities is not None], params)
    causes = [
        _frozen_too_deep(run, own, against),
        _thawed_too_far(run, own, against),
        _domain_too_far(run, against, params),
        _labels_suspect(run, against),
    ]
    found = [finding for finding in causes if finding]
    nothing = _nothing_learned(run, [*own, *found], params)
    return [*found, nothing] if nothing else found


@dataclass(frozen=True)
class _Versus:
    """Another strategy's run, and the metric of the one in question less that of this one."""

    other: Run
    difference: statistics.Paired


def _differences(run: Run, others: Sequence[Run], params: CompareParams) -> list[_Versus]:
    value, resampled = _metric(run, params)
    if not math.isfinite(value):
        return []  # as a ranking of images that are all of one class
    return [
        _Versus(other, statistics.paired(value, theirs, resampled, resampled_theirs, params.confidence))
        for other in others
        for theirs, resampled_theirs in [_metric(other, params)]
    ]


def _metric(run: Run, params: CompareParams) -> tuple[float, Floats]:
    """Return a run's metric on the validation images, and on resamples of them."""
    images = len(run.targets)
    drawn = statistics.draw(images, params.resamples, params.seed)
    counts = np.concatenate([np.ones((1, images), dtype=np.float32), drawn])
    values = statistics.METRICS[params.metric](counts, run.targets, run.answers)
    return float(values[0]), values[1:]


def _is_worse(versus: _Versus) -> bool:
    return versus.difference.high < 0 and versus.difference.difference < -MATTERS


def _with_interval(versus: _Versus) -> str:
    difference = versus.difference
    return f"{-difference.difference:.3f} [{-difference.high:.3f}, {-difference.low:.3f}]"


def _nothing_learned(run: Run, causes: Sequence[Finding], params: CompareParams) -> Finding | None:
    seen = curves.read(run)
    value, resampled = _metric(run, params)
    bounds = statistics.interval(resampled, params.confidence)
    chance = chance_of(params.metric, run.targets)
    if bounds is None or bounds[0] > chance or seen.val[seen.kept] < seen.val_chance - seen.val_noise(seen.val_chance):
        return None
    evidence = (
        f"The {params.metric} of {value:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}] can't be told from the {chance:.3f} of "
        f"an answer that knows nothing of the image."
    )
    return Finding("nothing_learned", evidence, None, next((f.suggestion for f in causes if f.suggestion), None))


def chance_of(metric: str, targets: Integers) -> float:
    """Return what a metric is for the best answer that knows nothing of the image.

    Args:
        metric: one of ``tasks.comparison.statistics.METRICS``.
        targets: classes as integers, shape (images,).
    """
    counts = np.bincount(targets)
    shares = counts[counts > 0] / len(targets)
    return {
        "accuracy": float(shares.max()),
        "balanced_accuracy": 1 / len(shares),
        "macro_f1": max(1 / len(shares), float((2 * shares / (1 + shares)).max()) / len(shares)),
        "auroc": 0.5,
        "average_precision": 1 / len(shares),
    }[metric]


def _frozen_too_deep(run: Run, own: Sequence[Finding], against: Sequence[_Versus]) -> Finding | None:
    if own or run.settings.start != "pretrained":
        return None
    seen = curves.read(run)
    fitted = float(seen.train[seen.kept])
    for versus in against:
        other = versus.other
        trains_more = other.settings.start == "pretrained" and other.trained > run.trained
        if not trains_more or not _is_worse(versus) or not _same_loss(run, other):
            continue
        beside = curves.read(other)
        unseen = float(beside.val[beside.kept])
        if fitted - unseen > NOISE * math.hypot(seen.train_noise(fitted), beside.val_noise(unseen)):
            evidence = (
                f"Its loss on the images that it trains on stays at {fitted:.3f}, above the {unseen:.3f} that "
                f"{other.name}, which trains more, has on images that it never saw; on validation it is worse by "
                f"{_with_interval(versus)}."
            )
            part = run.topmost_frozen
            return Finding(
                "frozen_too_deep", evidence, None, suggestions.thawed_further(run.settings, part) if part else None
            )
    return None


def _same_loss(run: Run, other: Run) -> bool:
    """Return whether the training loss of one and the validation loss of the other measure the same."""
    measures_same = curves.read(run).comparable and not run.settings.label_smoothing
    return measures_same and run.settings.treats_classes_alike == other.settings.treats_classes_alike


def _thawed_too_far(run: Run, own: Sequence[Finding], against: Sequence[_Versus]) -> Finding | None:
    if not run.trains_pretrained or any(
        finding.tag in {"rate_too_low", "not_converging", "collapsed"} for finding in own
    ):
        return None
    worse = [versus for versus in against if versus.other.is_probe and _is_worse(versus)]
    if not worse:
        return None
    worst = min(worse, key=lambda versus: versus.difference.difference)
    gentler = suggestions.other_rate(run.settings, run.schedule, 0.1, run.peak_rate)
    if any(_solves_its_head(versus.other) and versus.other.settings.stem == run.settings.stem for versus in worse):
        gentler = suggestions.head_first(run.settings, run.peak_rate) or gentler
    evidence = (
        f"It is worse on validation than {worst.other.name}, which trains the head alone, by {_with_interval(worst)}: "
        "training spoilt what the weights knew."
    )
    return Finding("thawed_too_far", evidence, None, gentler)


def _solves_its_head(run: Run) -> bool:
    return run.settings.schedule()[-1].solver == "lbfgs"


def _domain_too_far(run: Run, against: Sequence[_Versus], params: CompareParams) -> Finding | None:
    others = [versus.other for versus in against]
    pretrained = [one for one in (run, *others) if one.settings.start == "pretrained"]
    scratch = next((other for other in others if other.settings.start == "random"), None)
    if run.settings.start != "pretrained" or scratch is None:
        return None
    learned = statistics.interval(_metric(scratch, params)[1], params.confidence)
    gains = [_differences(one, [scratch], params)[0].difference for one in pretrained]
    best = max(gains, key=lambda gain: gain.difference)
    is_better = any(gain.low > 0 for gain in gains) or max(gain.high for gain in gains) >= MATTERS
    if is_better or learned is None or learned[0] <= chance_of(params.metric, run.targets):
        return None
    evidence = (
        f"The best of {len(gains)} pretrained strategies is ahead of {scratch.name} by {best.difference:.3f} "
        f"[{best.low:.3f}, {best.high:.3f}]: other pretrained weights may suit these images better."
    )
    return Finding("domain_too_far", evidence)


def _labels_suspect(run: Run, against: Sequence[_Versus]) -> Finding | None:
    found = labels.surely_wrong(run.targets, run.answers)
    if found.p_value > CHANCE or not _can_judge_labels(run, against):
        return None
    images, suspects = len(run.targets), len(labels.suspects(run.targets, run.answers))
    evidence = (
        f"{suspects} of {images} labels are suspect: {found.wrong} of the {int(labels.SUREST * images)} answers "
        f"that it is surest of contradict the label, where {found.errors * labels.SUREST**2:.0f} would if "
        "errors dwindled with confidence."
    )
    return Finding("labels_suspect", evidence, None, suggestions.smoothed(run.settings) or None)


def _can_judge_labels(run: Run, against: Sequence[_Versus]) -> bool:
    """Return whether a run is nearer to knowing than to guessing, no worse than others, and not sure of too much."""
    seen, classes = curves.read(run), np.unique(run.targets)
    recall = np.mean([np.mean(run.answers[run.targets == c].argmax(axis=1) == c) for c in classes])
    beats_guessing = seen.val[seen.kept] < seen.val_chance
    return bool(recall > (1 + 1 / len(classes)) / 2 and beats_guessing and not any(map(_is_worse, against)))
