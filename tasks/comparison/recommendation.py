"""Which strategies to run first, told before any of them is trained.

What frozen features and plain facts say of the data speaks for and against kinds of fine-tuning. It is advice: every
strategy is run all the same, and ``regret`` tells afterwards how good the advice was.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median, median_low

import pandas as pd
from pydantic import Field

from tasks.errors import listed
from tasks.evaluation.probed import LINEAR, Gain, Transferability, gain
from tasks.params import StrategyParams
from tasks.record import Record
from tasks.strategies.selectors import AUXILIARY, select

FEW_IMAGES = 50  # a class
MANY_IMAGES = 5000
FAR = 1.0  # as far as normal distributions whose means are a standard deviation apart
NOTHING_TO_GAIN = 0.995
IMBALANCED = 3.0
LEFT_OUT = -2  # points that the facts take from a strategy


class Kind(StrEnum):
    """What a strategy trains, whatever it is called."""

    SCRATCH = "from scratch"
    HEAD = "head only"
    LATE = "late stages and head"
    EARLY = "early layers and head"
    FULL = "everything at once"
    GENTLE = "everything, gently"
    ADAPTERS = "few weights of every layer"


class Facts(Record):
    """What is known before training."""

    images: dict[str, int] = Field(description="number of training images a class", min_length=1)
    parts: tuple[str, ...] = Field(description="of the network, from the image to the logits")
    channels: int = Field(description="of the images")
    channels_fit: bool = Field(True, description="whether the pretrained first layer takes them as they are")
    pretrained: Transferability | None = Field(None, description="of the pretrained network's features")
    random: Transferability | None = Field(None, description="of those of the same network with random weights")
    pixel_distance: float | None = Field(None, description="of the pixels from the pretraining's")
    divergences: dict[str, float] = Field(default={}, description="of what reaches each part from the pretraining's")

    @property
    def images_a_class(self) -> int:
        """Training images of the class in the middle."""
        return median_low(self.images.values())

    @property
    def imbalance(self) -> float:
        """Images of the largest class, for each of the smallest."""
        return max(self.images.values()) / max(1, min(self.images.values()))

    @property
    def gain(self) -> Gain | None:
        """What a linear probe gains from the pretrained weights; None where it wasn't measured."""
        if self.pretrained is None or self.random is None:
            return None
        return gain(self.pretrained.probes[LINEAR], self.random.probes[LINEAR])

    @property
    def linear_auroc(self) -> float | None:
        """AUROC of a linear probe on the pretrained features."""
        return self.pretrained.probes[LINEAR].mean_auroc if self.pretrained else None

    @property
    def distance(self) -> float:
        """From the pretraining: that of the part in the middle, or of the pixels where no part remembers anything."""
        return median(self.divergences.values()) if self.divergences else self.pixel_distance or 0.0

    @property
    def is_far(self) -> bool:
        """Whether the images are unlike the pretraining's."""
        return self.distance >= FAR

    @property
    def shifts_at_the_input(self) -> bool:
        """Whether the images are unlike the pretraining's from the first part on, and most of all there.

        Not for grey images: what their first part lacks is colour, which no training brings back.
        """
        first, *later = self.divergences.values() or [0.0]
        return self.channels > 1 and first >= FAR and first > max(later, default=0.0)


class Advice(Record):
    """What is expected of a strategy."""

    name: str
    kind: Kind
    expected_rank: float = Field(description="1 is the best; strategies that nothing tells apart share their mean rank")
    worth_running: bool = Field(description="false: the facts speak against it")
    reason: str

    @property
    def sentence(self) -> str:
        """The reason, and that the strategy can be left out where the facts speak against it."""
        return self.reason if self.worth_running else f"can be left out: {self.reason}"


class Recommendation(Record):
    """Strategies in the order in which to run them, and what to beware of."""

    order: tuple[Advice, ...]
    warnings: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the advice as text, a line a strategy, then a line a warning."""
        width = max((len(advice.name) for advice in self.order), default=0)
        return [
            *(f"{place}. {advice.name:<{width}}  {advice.sentence}" for place, advice in enumerate(self.order, 1)),
            *(f"Warning: {warning}" for warning in self.warnings),
        ]

    def paragraph(self) -> str:
        """Return the advice as plain sentences."""
        first = self.order[0]
        sentences = [f"{first.name} is expected to do best: {first.reason}"]
        spared = [advice.name for advice in self.order if not advice.worth_running]
        if spared:
            sentences.append(f"The facts speak against {listed(spared)}.")
        return " ".join([*sentences, *self.warnings])


@dataclass(frozen=True)
class _Rule:
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
    _Rule(
        lambda facts: facts.images_a_class < FEW_IMAGES,
        {Kind.HEAD: 4, Kind.ADAPTERS: 1, Kind.FULL: -3, Kind.SCRATCH: -3},
        lambda facts: (
            f"with {facts.images_a_class} images a class a linear classifier on frozen features is hard to beat, and "
            "many weights overfit (Kornblith et al., CVPR 2019)."
        ),
    ),
    _Rule(
        lambda facts: facts.is_far and (facts.gain is None or facts.gain.is_beyond_noise),
        {Kind.GENTLE: 1, Kind.FULL: -1},
        lambda facts: (
            f"the images are far from the pretraining's (distance {facts.distance:.1f}), where training everything at "
            "once distorts good features; held back until the head fits, they stay (Kumar et al., ICLR 2022)."
        ),
    ),
    _Rule(
        lambda facts: facts.shifts_at_the_input,
        {Kind.EARLY: 2},
        lambda facts: (
            f"the images differ most where they enter ({next(iter(facts.divergences.values())):.1f} in "
            f"{next(iter(facts.divergences))}), which the first layers can mend (Lee et al., ICLR 2023)."
        ),
    ),
    _Rule(
        lambda facts: facts.gain is not None and not facts.gain.is_beyond_noise,
        {Kind.SCRATCH: 4, Kind.FULL: 1, Kind.GENTLE: -1, Kind.LATE: -1, Kind.ADAPTERS: -2, Kind.HEAD: -3},
        lambda facts: (
            f"pretrained features are no better than random ones beyond noise ({_gain_of(facts)}), so that frozen "
            "layers hold little to build on (Raghu et al., NeurIPS 2019)."
        ),
    ),
    _Rule(
        lambda facts: facts.gain is not None and facts.gain.is_beyond_noise,
        {Kind.SCRATCH: -2},
        lambda facts: f"pretrained features are better than random ones beyond noise ({_gain_of(facts)}).",
    ),
    _Rule(
        lambda facts: facts.is_far and facts.images_a_class >= MANY_IMAGES,
        {Kind.SCRATCH: 3, Kind.FULL: 1, Kind.HEAD: -2},
        lambda facts: (
            f"with {facts.images_a_class:,} images a class that are far from the pretraining's (distance "
            f"{facts.distance:.1f}) pretraining brings little (Raghu et al., NeurIPS 2019)."
        ),
    ),
    _Rule(
        lambda facts: (facts.linear_auroc or 0.0) >= NOTHING_TO_GAIN,
        {Kind.HEAD: 4, Kind.FULL: -2, Kind.EARLY: -2, Kind.SCRATCH: -2},
        lambda facts: (
            f"a linear probe already reaches AUROC {facts.linear_auroc:.3f} on frozen features, which leaves little to "
            "gain."
        ),
    ),
)


def recommend(facts: Facts, strategies: Mapping[str, StrategyParams]) -> Recommendation:
    """Return strategies in the order in which to run them, each with the reason that weighs most.

    A strategy's place follows from what its settings train, not from its name. Those that nothing tells apart stay in
    the order given.

    Args:
        facts: what is known of the images and of the network's features.
        strategies: by name, one or more.

    Raises:
        UserError: a selector that names no part of this network.
    """
    kinds = {name: kind_of(settings, facts.parts) for name, settings in strategies.items()}
    held = [rule for rule in RULES if rule.applies(facts)]
    moved = {kind: sum(rule.points.get(kind, 0) for rule in held) for kind in Kind}
    points = {name: BASE[kind][0] + moved[kind] for name, kind in kinds.items()}
    ranks = dict(zip(points, pd.Series(points).rank(ascending=False), strict=True))
    ordered = sorted(kinds, key=ranks.__getitem__)
    return Recommendation(
        order=tuple(
            Advice(
                name=name,
                kind=kinds[name],
                expected_rank=ranks[name],
                worth_running=place == 0 or moved[kinds[name]] > LEFT_OUT,
                reason=_reason(kinds[name], moved[kinds[name]], held, facts),
            )
            for place, name in enumerate(ordered)
        ),
        warnings=tuple(_warnings(facts, strategies, kinds)),
    )


def kind_of(settings: StrategyParams, parts: Sequence[str]) -> Kind:
    """Return what kind of fine-tuning a strategy is.

    Args:
        settings: the strategy.
        parts: names of the network's parts, from the image to the logits.

    Raises:
        UserError: a selector that names no part of this network.
    """
    if settings.start == "random":
        return Kind.SCRATCH
    names = list(settings.groups) if settings.groups else _parts_of(settings, parts)
    body = [name for name in names[:-1] if name != AUXILIARY and not name.startswith("new")]
    schedule = settings.schedule()
    phases = [{*select(phase.train, names)} & {*body} for phase in schedule]
    trained = set().union(*phases)
    if not trained:
        return Kind.HEAD
    if settings.adapters or settings.only != "all":
        return Kind.ADAPTERS
    if trained < {*body}:
        return Kind.LATE if body[-1] in trained else Kind.EARLY
    held_back = settings.gradual or settings.layer_decay or settings.l2_sp or settings.wise_ft or settings.auto_rgn
    own_rates = any(isinstance(phase.lr, dict) for phase in schedule)
    return Kind.GENTLE if held_back or own_rates or phases[0] != trained else Kind.FULL


def regret(recommendation: Recommendation, scores: Mapping[str, float], first: int = 1) -> float:
    """Return what running only the strategies recommended first would have cost.

    Args:
        recommendation: made before training.
        scores: what each strategy reached on the validation split, by name; more is better. Strategies that were
            recommended but not run are passed over.
        first: how many of the recommended strategies are run.

    Returns:
        The best score of all less the best of those; 0 if the best strategy is among them.

    Raises:
        ValueError: none of the recommended strategies was run, or ``first`` is below 1.
    """
    ran = [scores[advice.name] for advice in recommendation.order if advice.name in scores]
    if not ran or first < 1:
        raise ValueError("regret needs the score of one recommended strategy or more")
    return max(scores.values()) - max(ran[:first])


def _parts_of(settings: StrategyParams, parts: Sequence[str]) -> list[str]:
    """Return the names of the parts that a strategy's network has, after stages were cut off and put in."""
    stages = [part for part in parts if part.startswith("stage")]
    gone = stages[len(stages) - settings.cut :]
    kept = [part for part in parts if part not in gone]
    return [*kept[:-1], *(f"new{place}" for place in range(1, settings.insert + 1)), *kept[-1:]]


def _reason(kind: Kind, moved: int, held: Sequence[_Rule], facts: Facts) -> str:
    """Return the sentence of the rule that moved a kind the most in the direction in which it went."""
    spoken = [rule for rule in held if rule.points.get(kind, 0) * (moved or 1) > 0]
    if not spoken:
        return BASE[kind][1]
    return max(spoken, key=lambda rule: abs(rule.points[kind])).reason(facts)


def _warnings(facts: Facts, strategies: Mapping[str, StrategyParams], kinds: Mapping[str, Kind]) -> list[str]:
    warnings = []
    if facts.pretrained is None:
        warnings.append("No features were measured: the order rests on the numbers of images alone.")
    if facts.gain is not None and not facts.gain.is_beyond_noise:
        warnings.append(
            "The pretrained features are no better than those of random weights beyond the noise of the folds "
            f"({_gain_of(facts)}): fine-tuning may not help."
        )
    everything = [name for name, kind in kinds.items() if kind in {Kind.FULL, Kind.SCRATCH}]
    if facts.images_a_class < FEW_IMAGES and everything:
        warnings.append(f"With {facts.images_a_class} images a class {listed(everything)} can be expected to overfit.")
    if facts.imbalance >= IMBALANCED:
        unaware = [name for name, settings in strategies.items() if not settings.treats_classes_alike]
        remedy = f", and try 'class_weights: true' in {listed(unaware)}" if unaware else ""
        warnings.append(
            f"The largest class has {facts.imbalance:.0f} times the images of the smallest: read balanced accuracy, "
            f"not accuracy{remedy}."
        )
    if not facts.channels_fit:
        warnings.append(
            f"The images have {facts.channels} channels, which the pretrained first layer was not made for: its new "
            "weights train in every strategy that does not freeze them."
        )
    return warnings


def _gain_of(facts: Facts) -> str:
    gain = facts.gain
    return f"{gain.difference:+z.3f} AUROC [{gain.low:+z.3f}, {gain.high:+z.3f}]" if gain else "not measured"
