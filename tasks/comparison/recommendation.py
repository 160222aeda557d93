"""Which strategies to run first, told before any of them is trained.

What frozen features and plain facts say of the data speaks for and against kinds of fine-tuning. It is advice: every
strategy is run all the same, and ``regret`` tells afterwards how good the advice was.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
from pydantic import Field

from tasks.comparison.facts import Facts
from tasks.comparison.kinds import Kind, kind_of
from tasks.comparison.recommendation_rules import BASE, FEW_IMAGES, RULES, Rule, gain_in_words
from tasks.errors import listed
from tasks.params import StrategyParams
from tasks.record import Record

IMBALANCED = 3.0  # times the images of the smallest class
LEFT_OUT = -2  # points that the facts take from a strategy


class Advice(Record):
    """What is expected of a strategy."""

    name: str = Field(description="of the strategy")
    kind: Kind
    expected_rank: float = Field(description="1 is the best; strategies that nothing tells apart share their mean rank")
    worth_running: bool = Field(description="false: the facts speak against it")
    reason: str = Field(description="why it is expected there, with its source")

    @property
    def sentence(self) -> str:
        """The reason, and that the strategy can be left out where the facts speak against it."""
        return self.reason if self.worth_running else f"can be left out: {self.reason}"


class Recommendation(Record):
    """Strategies in the order in which to run them, and what to beware of."""

    order: tuple[Advice, ...] = Field(description="of all strategies, the best first")
    warnings: tuple[str, ...] = Field(description="a sentence each")

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


def recommend(
    facts: Facts, strategies: Mapping[str, StrategyParams], parts: Mapping[str, Sequence[str]] | None = None
) -> Recommendation:
    """Return strategies in the order in which to run them, each with the reason that weighs most.

    A strategy's place follows from what its settings train, not from its name. Those that nothing tells apart stay in
    the order given.

    Args:
        facts: what is known of the images and of the network's features.
        strategies: by name, one or more.
        parts: of the networks of strategies that are on another one than the facts are of, by the strategy's name.

    Raises:
        UserError: a selector that names no part of this network.
    """
    parts = parts or {}
    kinds = {name: kind_of(settings, parts.get(name, facts.parts)) for name, settings in strategies.items()}
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


def _reason(kind: Kind, moved: int, held: Sequence[Rule], facts: Facts) -> str:
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
            f"({gain_in_words(facts)}): fine-tuning may not help."
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
