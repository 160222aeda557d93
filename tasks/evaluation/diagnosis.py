"""What went wrong in a fine-tuning, read from its losses and its answers, and what to try next.

Every rule asks for more than the noise of the validation images, and says nothing where it can't tell.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from tasks.arrays import Flags, Floats
from tasks.evaluation import curves, suggestions
from tasks.evaluation.curves import Curves, Run
from tasks.evaluation.suggestions import Suggestion
from tasks.params import TrainParams

Tag = Literal[
    "diverged",
    "rate_too_high",
    "rate_too_low",
    "not_converging",
    "undertrained",
    "collapsed",
    "overfitting",
    "frozen_too_deep",
    "thawed_too_far",
    "domain_too_far",
    "nothing_learned",
    "labels_suspect",
]

WORDS: dict[Tag, str] = {  # for the names of suggested strategies
    "diverged": "gentler",
    "rate_too_high": "gentler",
    "rate_too_low": "faster",
    "not_converging": "further",
    "undertrained": "longer",
    "collapsed": "spread",
    "overfitting": "regularised",
    "frozen_too_deep": "thawed",
    "thawed_too_far": "gentler",
    "nothing_learned": "again",
    "labels_suspect": "smoothed",
}
LONGEST_NAME = 64
NOISE = 2.0  # standard errors that a difference must exceed: about 95 %
WORSE, FAR = 1.5, 3.0  # times the loss of an untrained network: training did harm, or ran away
LITTLE, SLIGHT = 0.05, 0.02  # shares of a loss: hardly a change over all epochs, one over the last third of them
CARRIED = 1 / 3  # share of what was learned that holds on validation; linear probes on frozen features keep over half
FEWEST_EPOCHS = 3  # from which a trend can be read
LONGER = 4  # times the epochs, for a training that was cut short
SELDOM = 0.1  # of how often the other classes occur: answered less often, they are ignored
CHANCE = 0.01  # probability below which luck is no explanation


@dataclass(frozen=True)
class Diagnosis:
    """Something that went wrong.

    Attributes:
        tag: what.
        evidence: a sentence with the figures that it was read from.
        epoch: from 0, when it shows; None where it is no matter of epochs.
        suggestion: settings to change in the strategy; None where no configuration helps.
    """

    tag: Tag
    evidence: str
    epoch: int | None = None
    suggestion: Suggestion | None = None


def configuration(run: Run, diagnosis: Diagnosis, shared: TrainParams) -> str:
    """Return what a diagnosis suggests as a whole strategy of a new name, to be pasted into ``params.yaml``.

    Args:
        run: the run that was diagnosed.
        diagnosis: one of its diagnoses, with a suggestion.
        shared: the section ``train`` of ``params.yaml``.

    Raises:
        ValueError: the diagnosis has no suggestion.
    """
    if diagnosis.suggestion is None:
        raise ValueError(f"no configuration helps against '{diagnosis.tag}'")
    word = WORDS[diagnosis.tag]
    name = f"{run.name[: LONGEST_NAME - len(word) - 1]}_{word}"
    return suggestions.as_yaml(name, run.settings, diagnosis.suggestion, shared)


def diagnose(run: Run) -> list[Diagnosis]:
    """Return what a run's own losses and answers show, the cause before its effects; nothing for a healthy one."""
    if failed := _diverged(run):
        return [failed]
    if run.probabilities is None:
        return []
    seen = curves.read(run)
    rate = _rate_too_high(run, seen) or _rate_too_low(run, seen) or _not_converging(run, seen)
    rising = None if rate and rate.tag == "rate_too_high" else _validation_rises(run, seen)
    collapsed = _collapsed(run, seen, rate or rising)
    diagnoses = [diagnosis for diagnosis in (rate, rising, collapsed) if diagnosis]
    return diagnoses or [diagnosis for diagnosis in [_learned_by_heart(run, seen)] if diagnosis]


def _diverged(run: Run) -> Diagnosis | None:
    lower = suggestions.other_rate(run.settings, run.schedule, 0.1, run.peak_rate)
    for row in run.history:
        if not math.isfinite(row["train_loss"] + row["val_loss"]):
            evidence = f"The loss became non-finite in epoch {row['epoch'] + 1:.0f}."
            return Diagnosis("diverged", evidence, int(row["epoch"]), lower)
    if run.probabilities is None:
        return None
    seen = curves.read(run)
    if not seen.train[-1] > FAR * seen.untrained:
        return None
    evidence = (
        f"The training loss ended at {seen.train[-1]:.3g}; that of an untrained network is about {seen.untrained:.3f}."
    )
    return Diagnosis("diverged", evidence, seen.first + int(np.argmax(seen.train > FAR * seen.untrained)), lower)


def _rate_too_high(run: Run, seen: Curves) -> Diagnosis | None:
    lower = suggestions.other_rate(run.settings, run.schedule, 0.1, run.peak_rate)
    worse = seen.train > WORSE * seen.untrained
    spoils = run.settings.start == "pretrained" and worse[seen.warm :].any()  # scratch has nothing to lose
    if spoils or (worse.any() and not seen.learned):
        place = int(np.argmax(worse))
        evidence = (
            f"The training loss rose to {seen.train.max():.3f}; that of an untrained network is about "
            f"{seen.untrained:.3f}."
        )
        return Diagnosis("rate_too_high", evidence, seen.first + place, lower)
    if seen.lost_again.any() and not run.settings.start_size:
        place = int(np.argmax(seen.lost_again))
        evidence = (
            f"The training loss fell to {seen.train[:place].min():.3f} and rose to {seen.train[place]:.3f} again, "
            f"above the {seen.train_chance:.3f} of an answer that knows the classes' frequencies alone."
        )
        return Diagnosis("rate_too_high", evidence, seen.first + place, lower)
    rises = np.flatnonzero(_rise(seen.train, seen.train_noise(seen.train)) & ~seen.fitted)  # close to 0, all jumps
    rises = rises[rises > seen.warm]
    if len(rises) < 2 or not _rise(seen.val, seen.val_noise(seen.val)).any() or run.settings.start_size:
        return None  # images that grow make losses rise at any rate
    evidence = (
        f"The training loss rose in {len(rises)} epochs after the warm-up, first from {seen.train[rises[0] - 1]:.3f} "
        f"to {seen.train[rises[0]]:.3f}, and the validation loss by up to {np.diff(seen.val).max():.3f} from one epoch "
        "to the next."
    )
    return Diagnosis("rate_too_high", evidence, seen.first + int(rises[0]), lower)


def _rise(losses: Floats, noise: Floats) -> Flags:
    """Return in which epochs a loss is clearly above that of the epoch before."""
    return np.diff(losses, prepend=losses[0]) > NOISE * math.sqrt(2) * noise


def _rate_too_low(run: Run, seen: Curves) -> Diagnosis | None:
    if seen.learned or len(seen.train) < FEWEST_EPOCHS:
        return None
    end, spread = seen.train[-1], np.ptp(seen.train)
    falls = stats.kendalltau(np.arange(len(seen.train)), seen.train, alternative="less").pvalue < CHANCE
    creeps = falls and spread < LITTLE * end
    stands = spread < 2 * LITTLE * end and end > seen.train_chance + NOISE * seen.train_noise(end)
    if not creeps and not stands:
        return None
    evidence = (
        f"The losses hardly moved: that of training from {seen.train[0]:.3f} to {end:.3f}, that of validation from "
        f"{seen.val[0]:.3f} to {seen.val[-1]:.3f}; an answer that knows the classes' frequencies alone has "
        f"{seen.train_chance:.3f} and {seen.val_chance:.3f}."
    )
    return Diagnosis(
        "rate_too_low", evidence, None, suggestions.other_rate(run.settings, run.schedule, 10.0, run.peak_rate)
    )


def _not_converging(run: Run, seen: Curves) -> Diagnosis | None:
    if len(seen.train) < FEWEST_EPOCHS:
        return None
    if not seen.learned and seen.val.min() > seen.val_chance - seen.val_noise(seen.val_chance):
        evidence = (
            f"The training loss never fell clearly below the {seen.train_chance:.3f} of an answer that knows the "
            f"classes' frequencies alone: its lowest is {seen.train.min():.3f}."
        )
        return Diagnosis("not_converging", evidence, None, suggestions.found_rate(run.settings, run.schedule))
    before, end = _last_third(seen)
    falls = seen.train[end] < (1 - SLIGHT) * seen.train[before] and _falls_late(seen, seen.val_jitter)
    if seen.fitted[end] or not seen.complete or not falls:
        return None
    evidence = (
        f"Both losses were still falling when training ended: from epoch {seen.first + before + 1} to "
        f"{seen.first + end + 1} the training loss from {seen.train[before]:.3f} to {seen.train[end]:.3f}, the "
        f"validation loss from {seen.val[before]:.3f} to {seen.val[end]:.3f}."
    )
    return Diagnosis("not_converging", evidence, seen.first + end, suggestions.more_epochs(run.settings))


def still_falling(seen: Curves) -> tuple[float, float] | None:
    """Return the training losses in the middle and at the end of a schedule that ended as the loss was still falling.

    By the middle half of the rate's way down is left; in the last third hardly any of it, and no loss falls by much.
    """
    if not seen.complete or len(seen.train) < FEWEST_EPOCHS:
        return None
    middle, end = float(seen.train[(len(seen.train) - 1) // 2]), float(seen.train[-1])
    return (middle, end) if end < (1 - SLIGHT) * middle else None


def _last_third(seen: Curves) -> tuple[int, int]:
    """Return the entry that the last third of the epochs sets out from, and the last entry."""
    end = len(seen.train) - 1
    return end - max(1, len(seen.train) // 3), end


def _falls_late(seen: Curves, jitter: float) -> bool:
    """Return whether the validation loss was still falling; epochs share half of its noise, which is of the images."""
    before, end = _last_third(seen)
    noise = math.hypot(seen.val_noise(float(seen.val[end])) / 2, jitter)
    return bool(seen.val[end] < seen.val[before] - noise)


def _validation_rises(run: Run, seen: Curves) -> Diagnosis | None:
    kept, end = seen.kept, len(seen.train) - 1
    opened = _first_for_good((seen.val > seen.val[kept] + _gap_noise(seen)) & (seen.train < seen.train[kept]))
    if end - opened < 1:
        return None
    evidence = (
        f"From epoch {seen.first + kept + 1} on the training loss fell from {seen.train[kept]:.3f} to "
        f"{seen.train[end]:.3f} while the validation loss rose from {seen.val[kept]:.3f} to {seen.val[end]:.3f} "
        f"(standard error {seen.val_noise(seen.val[end]):.3f})."
    )
    stronger = suggestions.regularised(run.settings, trains_pretrained=run.trains_pretrained)
    return Diagnosis("overfitting", evidence, seen.first + opened, stronger)


def _learned_by_heart(run: Run, seen: Curves) -> Diagnosis | None:
    end = len(seen.train) - 1
    opened = _first_for_good(seen.val - seen.train > _gap_noise(seen))
    train, val = np.median(seen.train[-FEWEST_EPOCHS:]), np.median(seen.val[-FEWEST_EPOCHS:])
    carried = (seen.val_chance - val + NOISE * seen.val_noise(val)) / max(seen.train_chance - train, 1e-12)
    if not seen.comparable or not seen.learned or end - opened < 1 or carried > CARRIED or _falls_late(seen, 0.0):
        return None
    evidence = (
        f"Training ended {seen.train_chance - train:.3f} below the loss of an answer that knows the classes' "
        f"frequencies alone, validation {seen.val_chance - val:.3f} (standard error "
        f"{seen.val_noise(seen.val[end]):.3f})."
    )
    stronger = suggestions.regularised(run.settings, trains_pretrained=run.trains_pretrained)
    return Diagnosis("overfitting", evidence, seen.first + opened, stronger)


def _gap_noise(seen: Curves) -> Floats:
    """Return what a validation loss may differ by from another one of the same run."""
    return NOISE * np.hypot(seen.val_noise(seen.val), seen.val_jitter)


def _first_for_good(holds: Flags) -> int:
    """Return the first entry from which on all hold; one behind the last, if that does not."""
    broken = np.flatnonzero(~holds)
    return int(broken[-1]) + 1 if len(broken) else 0


def _collapsed(run: Run, seen: Curves, cause: Diagnosis | None) -> Diagnosis | None:
    if seen.val[seen.kept] < seen.val_chance - seen.val_noise(seen.val_chance):
        return None  # the answers say something of the images, be it too little to outweigh the frequent class
    images = len(run.targets)
    answers = np.bincount(run.answers.argmax(axis=1))
    favourite = int(answers.argmax())
    others = images - int(answers[favourite])
    share = float(np.mean(run.targets != favourite))
    if others > SELDOM * share * images or stats.binom.cdf(others, images, share) > CHANCE:
        return None
    name = run.classes[favourite] if run.classes else f"class {favourite}"
    evidence = (
        f"{answers[favourite]} of {images} validation images are taken for {name}, which "
        f"{images - round(share * images)} of them are labelled."
    )
    if (falling := still_falling(seen)) and not seen.learned:
        evidence += f" Its training loss was still falling, from {falling[0]:.3f} to {falling[1]:.3f}."
        return Diagnosis("undertrained", evidence, None, suggestions.more_epochs(run.settings, LONGER))
    return Diagnosis("collapsed", evidence, None, cause.suggestion if cause else _spread_out(run, seen, favourite))


def _spread_out(run: Run, seen: Curves, favourite: int) -> Suggestion | None:
    """Return what gives other classes a chance: the statistics of the pretraining, or more weight."""
    if seen.learned and run.settings.batchnorm == "train" and run.trains_pretrained:
        return {"batchnorm": "frozen"}
    if run.train_counts[favourite] > run.train_counts.mean() and not run.settings.treats_classes_alike:
        return {"class_weights": True}
    return None
