"""What speaks for and against kinds of fine-tuning, and in which papers that was shown."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tasks.comparison.facts import Facts
from tasks.comparison.kinds import Kind

FEW_IMAGES = 50  # a class
MANY_IMAGES = 5000
NOTHING_TO_GAIN = 0.995


def gain_in_words(facts: Facts) -> str:
    """Return what a linear probe gains from the pretrained weights, with its interval."""
    gain = facts.gain
    return f"{gain.difference:+z.3f} AUROC [{gain.low:+z.3f}, {gain.high:+z.3f}]" if gain else "not measured"


@dataclass(frozen=True)
class Rule:
    """When it applies, what it adds to each kind's points, and why."""

    applies: Callable[[Facts], bool]
    points: Mapping[Kind, int]
    reason: Callable[[Facts], str]


# More points are run earlier. The sizes are judgement, the directions are the papers'.
BASE = {
    Kind.GENTLE: (
        5,
        "training everything after the head, or held back, keeps good features (Kumar et al., ICLR 2022).",
    ),
    Kind.FULL: (4, "with enough images, training everything beats frozen features (Kornblith et al., CVPR 2019)."),
    Kind.LATE: (3, "late layers are the most specific to the pretraining's classes (Yosinski et al., NeurIPS 2014)."),
    Kind.ADAPTERS: (
        3,
        "few weights in every layer can do nearly what all of them do (Hu et al., ICLR 2022).",
    ),
    Kind.HEAD: (2, "frozen features are the cheapest start, and what the others have to beat."),
    Kind.EARLY: (1, "early layers are worth training where the images themselves differ (Lee et al., ICLR 2023)."),
    Kind.SCRATCH: (0, "without pretraining there is least to start from; it shows what pretraining is worth."),
}
RULES = (
    Rule(
        lambda facts: facts.images_a_class < FEW_IMAGES,
        {Kind.HEAD: 4, Kind.ADAPTERS: 1, Kind.FULL: -3, Kind.SCRATCH: -3},
        lambda facts: (
            f"with {facts.images_a_class} images a class a linear classifier on frozen features is hard to beat, and "
            "many weights overfit (Kornblith et al., CVPR 2019)."
        ),
    ),
    Rule(
        lambda facts: facts.is_far and (facts.gain is None or facts.gain.is_beyond_noise),
        {Kind.GENTLE: 1, Kind.FULL: -1},
        lambda facts: (
            f"the images are far from the pretraining's (distance {facts.distance:.1f}), where training everything at "
            "once distorts good features; held back until the head fits, they stay (Kumar et al., ICLR 2022)."
        ),
    ),
    Rule(
        lambda facts: facts.shifts_at_the_input,
        {Kind.EARLY: 2},
        lambda facts: (
            f"the images differ most where they enter ({next(iter(facts.divergences.values())):.1f} in "
            f"{next(iter(facts.divergences))}), which the first layers can mend (Lee et al., ICLR 2023)."
        ),
    ),
    Rule(
        lambda facts: facts.gain is not None and not facts.gain.is_beyond_noise,
        {Kind.SCRATCH: 4, Kind.FULL: 1, Kind.GENTLE: -1, Kind.LATE: -1, Kind.ADAPTERS: -2, Kind.HEAD: -3},
        lambda facts: (
            f"pretrained features are no better than random ones beyond noise ({gain_in_words(facts)}), so that frozen "
            "layers hold little to build on (Raghu et al., NeurIPS 2019)."
        ),
    ),
    Rule(
        lambda facts: facts.gain is not None and facts.gain.is_beyond_noise,
        {Kind.SCRATCH: -2},
        lambda facts: f"pretrained features are better than random ones beyond noise ({gain_in_words(facts)}).",
    ),
    Rule(
        lambda facts: facts.is_far and facts.images_a_class >= MANY_IMAGES,
        {Kind.SCRATCH: 3, Kind.FULL: 1, Kind.HEAD: -2},
        lambda facts: (
            f"with {facts.images_a_class:,} images a class that are far from the pretraining's (distance "
            f"{facts.distance:.1f}) pretraining brings little (Raghu et al., NeurIPS 2019)."
        ),
    ),
    Rule(
        lambda facts: (facts.linear_auroc or 0.0) >= NOTHING_TO_GAIN,
        {Kind.HEAD: 4, Kind.FULL: -2, Kind.EARLY: -2, Kind.SCRATCH: -2},
        lambda facts: (
            f"a linear probe already reaches AUROC {facts.linear_auroc:.3f} on frozen features, which leaves little to "
            "gain."
        ),
    ),
)
