"""What went wrong in a fine-tuning, read from its answers beside those of other strategies, and what to try next."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.arrays import Floats, Integers
from tasks.comparison import statistics
from tasks.evaluation import curves, label_noise, suggestions
from tasks.evaluation.curves import Curves, Run
from tasks.evaluation.diagnosis import CHANCE, LITTLE, LONGER, NOISE, Diagnosis, diagnose, still_falling
from tasks.params import CompareParams

MATTERS = 0.02  # of a metric: a smaller difference is no reason to change anything
REMNANT = 0.1  # of what a linear classifier is better than chance: less is left where training wiped out features


def diagnose_against(runs: Sequence[Run], params: CompareParams) -> dict[str, list[Diagnosis]]:
    """Return what each run's answers show beside those of the others, on the same validation images.

    Differences are of ``params.metric``, paired on the same resamples of the images.

    Args:
        runs: of the strategies, one or more, by different names; those that failed count for nothing.
        params: metric, confidence and resamples of the comparison.

    Raises:
        ValueError: the runs were not validated on the same images.
    """
    if any(not np.array_equal(run.targets, runs[0].targets) for run in runs):
        raise ValueError("the runs were not validated on the same images")
    drawn = statistics.draw(len(runs[0].targets), params.resamples, params.seed)
    scored = [(run, _scored(run, drawn, params)) for run in runs if run.probabilities is not None]
    found: dict[str, list[Diagnosis]] = {run.name: [] for run in runs}
    for run, ours in scored:
        others = [_Versus(other, theirs, ours) for other, theirs in scored if other is not run]
        found[run.name] = _diagnose(run, ours, others)
    return found


def _diagnose(run: Run, scored: "_Scored", against: Sequence["_Versus"]) -> list[Diagnosis]:
    by_itself = diagnose(run)
    place = (
        _undertrained(run, by_itself, against)
        or _frozen_too_deep(run, by_itself, against)
        or _thawed_too_far(run, by_itself, against)
    )
    causes = [
        _rate_too_high(run, by_itself, against),
        place,
        _domain_too_far(run, scored, against),
        _labels_suspect(run, against),
    ]
    against_others = [diagnosis for diagnosis in causes if diagnosis]
    nothing = _nothing_learned(run, scored, [*by_itself, *against_others])
    return [*against_others, nothing] if nothing else against_others


@dataclass(frozen=True)
class _Scored:
    """A run's metric on the validation images, and on resamples of them.

    Attributes:
        chance: the metric of an answer that knows nothing of the image.
        interval: None where the metric is undefined, as a ranking of images that are all of one class.
    """

    params: CompareParams
    value: float
    resampled: Floats
    chance: float
    interval: tuple[float, float] | None

    def less(self, other: "_Scored") -> statistics.Paired:
        """Return this metric less another's."""
        return statistics.paired(self.value, other.value, self.resampled, other.resampled, self.params.confidence)


@dataclass(frozen=True)
class _Versus:
    """Another strategy's run, beside the one in question."""

    other: Run
    theirs: _Scored
    ours: _Scored

    @property
    def is_better(self) -> bool:
        """Whether the other one is better, by more than noise and by enough to matter."""
        if self.ours.interval is None:
            return False
        lead = self.theirs.less(self.ours)
        return lead.low > 0 and lead.difference > MATTERS

    @property
    def share_reached(self) -> float:
        """How much of what the other one is better than chance is reached."""
        return (self.ours.value - self.ours.chance) / (self.theirs.value - self.theirs.chance)

    @property
    def lead(self) -> str:
        """By how much the other one is better."""
        return _with_interval(self.theirs.less(self.ours))


def _scored(run: Run, drawn: statistics.Counts, params: CompareParams) -> _Scored:
    counts = np.concatenate([np.ones((1, len(run.targets)), dtype=np.float32), drawn])
    value, resampled = np.split(statistics.METRICS[params.metric](counts, run.targets, run.answers), [1])
    interval = statistics.interval(resampled, params.confidence)
    return _Scored(params, float(value[0]), resampled, chance_of(params.metric, run.targets), interval)


def _with_interval(difference: statistics.Paired) -> str:
    return f"{difference.difference:.3f} [{difference.low:.3f}, {difference.high:.3f}]"


def _nothing_learned(run: Run, scored: _Scored, causes: Sequence[Diagnosis]) -> Diagnosis | None:
    seen = curves.read(run)
    beats_guessing = seen.val[seen.kept] < seen.val_chance - seen.val_noise(seen.val_chance)
    if scored.interval is None or scored.interval[0] > scored.chance or beats_guessing:
        return None
    evidence = (
        f"The {scored.params.metric} of {scored.value:.3f} [{scored.interval[0]:.3f}, {scored.interval[1]:.3f}] can't "
        f"be told from the {scored.chance:.3f} of an answer that knows nothing of the image."
    )
    return Diagnosis("nothing_learned", evidence, None, next((f.suggestion for f in causes if f.suggestion), None))


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


def _rate_too_high(run: Run, by_itself: Sequence[Diagnosis], against: Sequence[_Versus]) -> Diagnosis | None:
    """Return that training moved, and ended at guessing on weights that a linear classifier learns from."""
    seen = curves.read(run)
    probe = next((versus for versus in against if versus.other.is_probe and versus.is_better), None)
    known = any(diagnosis.tag in {"rate_too_low", "rate_too_high", "diverged"} for diagnosis in by_itself)
    if probe is None or known or seen.learned or not run.trains_pretrained:
        return None
    end = seen.train[-max(1, len(seen.train) // 3) :]
    guesses = np.all(np.abs(end - seen.train_chance) <= NOISE * seen.train_noise(end))
    moved = np.ptp(seen.train) > LITTLE * seen.train[-1]
    if not guesses or not moved or probe.share_reached > REMNANT:
        return None
    evidence = (
        f"Its training loss ended at {seen.train[-1]:.3f}, where guessing has {seen.train_chance:.3f}, while "
        f"{probe.other.name} learned from the same weights as they were, and is ahead on validation by {probe.lead}."
    )
    return Diagnosis(
        "rate_too_high", evidence, None, suggestions.other_rate(run.settings, run.schedule, 0.1, run.peak_rate)
    )


def _undertrained(run: Run, by_itself: Sequence[Diagnosis], against: Sequence[_Versus]) -> Diagnosis | None:
    """Return that training ended before it fitted what a solved head knows, and was still on its way there.

    What is spoilt fits the images that it trained on, and no others; what is undertrained doesn't fit those either.
    """
    seen = curves.read(run)
    falling = still_falling(seen)
    if by_itself or falling is None or run.settings.start != "pretrained" or _solves_its_head(run):
        return None
    (middle, end), epochs = falling, len(seen.train) // 2
    solved = [one for one in against if one.other.is_probe and _solves_its_head(one.other) and one.is_better]
    for versus in solved:
        unseen = _unseen_below(end, run, seen, versus.other)
        if unseen is None:
            continue
        evidence = (
            f"In its last {epochs} epochs the training loss was still falling, from {middle:.3f} to {end:.3f}, and is "
            f"above the {unseen:.3f} that {versus.other.name}, whose head is solved, has on images that it never saw; "
            f"at that pace it would take {math.ceil((end - unseen) * epochs / (middle - end))} epochs more."
        )
        return Diagnosis("undertrained", evidence, None, suggestions.more_epochs(run.settings, LONGER))
    return None


def _frozen_too_deep(run: Run, by_itself: Sequence[Diagnosis], against: Sequence[_Versus]) -> Diagnosis | None:
    if by_itself or run.settings.start != "pretrained":
        return None
    seen = curves.read(run)
    fitted = float(seen.train.min())
    for versus in against:
        other = versus.other
        trains_more = other.settings.start == "pretrained" and other.trained > run.trained
        if not trains_more or not versus.is_better:
            continue
        unseen = _unseen_below(fitted, run, seen, other)
        if unseen is not None:
            evidence = (
                f"Its loss on the images that it trains on stays at {fitted:.3f}, above the {unseen:.3f} that "
                f"{other.name}, which trains more, has on images that it never saw; there {other.name} is ahead by "
                f"{versus.lead}."
            )
            part = run.topmost_frozen
            return Diagnosis(
                "frozen_too_deep", evidence, None, suggestions.thawed_further(run.settings, part) if part else None
            )
    return None


def _unseen_below(loss: float, run: Run, seen: Curves, other: Run) -> float | None:
    """Return another's loss on images that it never saw, if that is clearly below a training loss of the run."""
    if not _same_loss(run, seen, other):
        return None
    beside = curves.read(other)
    unseen = float(beside.val[beside.kept])
    noise = math.hypot(seen.train_noise(loss), beside.val_noise(unseen))
    return unseen if loss - unseen > NOISE * noise else None


def _same_loss(run: Run, seen: Curves, other: Run) -> bool:
    """Return whether the training loss of one and the validation loss of the other measure the same."""
    raised = run.settings.label_smoothing or run.settings.head.dropout
    return seen.comparable and not raised and run.settings.treats_classes_alike == other.settings.treats_classes_alike


def _thawed_too_far(run: Run, by_itself: Sequence[Diagnosis], against: Sequence[_Versus]) -> Diagnosis | None:
    has_other_cause = any(diagnosis.tag in {"rate_too_low", "not_converging", "collapsed"} for diagnosis in by_itself)
    probes = [versus for versus in against if versus.other.is_probe and versus.is_better]
    if has_other_cause or not run.trains_pretrained or not probes:
        return None
    best = max(probes, key=lambda versus: versus.theirs.value)
    gentler = suggestions.other_rate(run.settings, run.schedule, 0.1, run.peak_rate)
    if any(_solves_its_head(versus.other) and versus.other.settings.stem == run.settings.stem for versus in probes):
        gentler = suggestions.head_first(run.settings, run.peak_rate) or gentler
    evidence = (
        f"{best.other.name}, which trains the head alone, is ahead on validation by {best.lead}: training spoilt what "
        "the weights knew."
    )
    return Diagnosis("thawed_too_far", evidence, None, gentler)


def _solves_its_head(run: Run) -> bool:
    return run.settings.schedule()[-1].solver == "lbfgs"


def _domain_too_far(run: Run, scored: _Scored, against: Sequence[_Versus]) -> Diagnosis | None:
    scratch = next((versus for versus in against if versus.other.settings.start == "random"), None)
    if run.settings.start != "pretrained" or scratch is None:
        return None
    if scratch.theirs.interval is None or scratch.theirs.interval[0] <= scratch.theirs.chance:
        return None
    pretrained = [scored, *(versus.theirs for versus in against if versus.other.settings.start == "pretrained")]
    gains = [strategy.less(scratch.theirs) for strategy in pretrained]
    if any(gain.low > 0 or gain.high >= MATTERS for gain in gains):
        return None
    evidence = (
        f"The best of {len(gains)} pretrained strategies is ahead of {scratch.other.name} by "
        f"{_with_interval(max(gains, key=lambda gain: gain.difference))}: other pretrained weights may suit these "
        "images better."
    )
    return Diagnosis("domain_too_far", evidence)


def _labels_suspect(run: Run, against: Sequence[_Versus]) -> Diagnosis | None:
    contradicted = label_noise.surely_wrong(run.targets, run.answers)
    if contradicted.p_value > CHANCE or not _can_judge_labels(run, against):
        return None
    images, suspects = len(run.targets), len(label_noise.suspects(run.targets, run.answers))
    surest, expected = int(label_noise.SUREST * images), contradicted.errors * label_noise.SUREST**2
    evidence = (
        f"{suspects} of {images} labels are suspect: {contradicted.wrong} of the {surest} answers that it is surest of "
        f"contradict the label, where {expected:.0f} would if errors dwindled with confidence."
    )
    return Diagnosis("labels_suspect", evidence, None, suggestions.smoothed(run.settings) or None)


def _can_judge_labels(run: Run, against: Sequence[_Versus]) -> bool:
    """Return whether a run is nearer to knowing than to guessing, no worse than others, and not sure of too much."""
    seen, classes = curves.read(run), np.unique(run.targets)
    recall = np.mean([np.mean(run.answers[run.targets == c].argmax(axis=1) == c) for c in classes])
    beats_guessing = seen.val[seen.kept] < seen.val_chance
    is_good = recall > (1 + 1 / len(classes)) / 2 and beats_guessing
    return bool(is_good and not any(versus.is_better for versus in against))
