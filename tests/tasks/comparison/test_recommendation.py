"""Advice follows the facts and what strategies train, never their names, and is held to what came of it."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.comparison.facts import Facts
from tasks.comparison.kinds import Kind
from tasks.comparison.recommendation import Advice, Recommendation, recommend, regret
from tasks.errors import UserError
from tasks.evaluation.probes import LINEAR, NEIGHBOURS, ProbeScores, Transferability
from tasks.params import StrategyParams
from tests.tasks.comparison.test_kinds import ONE_OF_EACH, PARTS


def settings_of(given: Mapping[str, Mapping[str, Any]]) -> dict[str, StrategyParams]:
    """Return strategies from their settings."""
    return {name: StrategyParams.model_validate(settings) for name, settings in given.items()}


def features(auroc: float) -> Transferability:
    """Return scores of features on which probes reach about this AUROC, the folds close to each other."""
    folds = [min(1.0, max(0.0, auroc + off)) for off in (-0.002, -0.001, 0.0, 0.001, 0.002)]
    probed = ProbeScores(folds=5, balanced_accuracy=folds, auroc=list(folds))
    return Transferability(
        images=300, features=64, neighbours=5, probes={NEIGHBOURS: probed, LINEAR: probed}, logme=0.1, h_score=0.5
    )


def facts(**changes: Any) -> Facts:
    """Return facts of a plain case: some hundred images a class, near the pretraining, features that help."""
    plain = {
        "images": {"intact": 400, "broken": 400},
        "parts": PARTS,
        "channels": 3,
        "pretrained": features(0.85),
        "random": features(0.6),
        "divergences": {"stem": 0.2, "stage1": 0.2, "stage2": 0.3},
    }
    return Facts.model_validate(plain | changes)


def advised(**changes: Any) -> dict[Kind, Advice]:
    """Return what is expected of one strategy of each kind, best first."""
    return {advice.kind: advice for advice in recommend(facts(**changes), settings_of(ONE_OF_EACH)).order}


def warned(**changes: Any) -> str:
    """Return the warnings, one after the other."""
    return " ".join(recommend(facts(**changes), settings_of(ONE_OF_EACH)).warnings)


def test_a_part_that_is_not_there_is_an_error() -> None:
    """A selector that stands for nothing is told as when training."""
    with pytest.raises(UserError, match="stage9"):
        recommend(facts(), {"wrong": StrategyParams(train=("stage9",))})


def test_strategies_are_read_by_the_parts_of_their_own_network() -> None:
    """A part that only another network has is none of this one."""
    deep = {"other/deep": StrategyParams(train=("stage9", "head"))}
    with pytest.raises(UserError, match="stage9"):
        recommend(facts(), deep)
    parts = {"other/deep": ("stem", *(f"stage{place}" for place in range(1, 10)), "head")}
    (advice,) = recommend(facts(), deep, parts).order
    last = recommend(facts(), {"last": StrategyParams(train=("stages[-1]", "head"))}).order[0]
    assert advice.kind == last.kind


def test_names_do_not_matter() -> None:
    """Strategies under other names are ordered alike."""
    recommendation = recommend(facts(), settings_of(ONE_OF_EACH))
    renamed = recommend(facts(), settings_of({f"full {name}": given for name, given in ONE_OF_EACH.items()}))
    assert [f"full {advice.name}" for advice in recommendation.order] == [advice.name for advice in renamed.order]


def test_without_a_reason_against_it_everything_trains_gently_first() -> None:
    """Enough images, near, and good features: head first and then everything, scratch last and dispensable."""
    by_kind = advised()
    assert next(iter(by_kind)) == Kind.GENTLE
    assert list(by_kind)[-1] == Kind.SCRATCH
    assert [kind for kind, advice in by_kind.items() if not advice.worth_running] == [Kind.SCRATCH]
    assert "random" in by_kind[Kind.SCRATCH].reason


def test_few_images_speak_for_the_head_and_against_many_weights() -> None:
    """A handful of images a class puts the head first, and says why full fine-tuning can be left out."""
    by_kind = advised(images={"intact": 12, "broken": 9})
    assert next(iter(by_kind)) == Kind.HEAD
    assert not by_kind[Kind.FULL].worth_running
    assert "9 images a class" in by_kind[Kind.FULL].reason
    assert "overfit" in warned(images={"intact": 12, "broken": 9})
    assert "overfit" not in warned()


def test_a_rare_class_beside_full_ones_is_not_few_images() -> None:
    """The class in the middle decides whether there are few images."""
    images = {"intact": 900, "cracked": 800, "burnt": 5}
    assert advised(images=images)[Kind.FULL].worth_running
    assert "overfit" not in warned(images=images)


def test_far_images_speak_against_training_everything_at_once() -> None:
    """A large distance puts more between training the head first and training everything at once."""
    far = {"divergences": {"stem": 1.5, "stage1": 4.0, "stage2": 6.0}}
    near, by_kind = advised(), advised(**far)
    gap = near[Kind.FULL].expected_rank - near[Kind.GENTLE].expected_rank
    assert by_kind[Kind.FULL].expected_rank - by_kind[Kind.GENTLE].expected_rank > gap
    assert "Kumar" in by_kind[Kind.FULL].reason
    assert list(advised(divergences={}, pixel_distance=2.0)) == list(by_kind)


def test_a_shift_at_the_input_speaks_for_the_early_layers() -> None:
    """Early layers gain where the images differ most as they enter, not where they differ most later."""
    at_input = {"divergences": {"stem": 5.0, "stage1": 2.0, "stage2": 1.0}}
    later = {"divergences": {"stem": 1.5, "stage1": 2.0, "stage2": 5.0}}
    first, second = advised(**at_input)[Kind.EARLY], advised(**later)[Kind.EARLY]
    assert first.expected_rank < second.expected_rank
    assert "5.0 in stem" in first.reason
    assert advised(**at_input, channels=1)[Kind.EARLY].expected_rank == second.expected_rank


def test_features_no_better_than_random_are_a_warning() -> None:
    """Where pretraining gives nothing, frozen layers go down, training from scratch goes up, and it is said."""
    by_kind = advised(pretrained=features(0.6), random=features(0.6))
    order = list(by_kind)
    assert order.index(Kind.SCRATCH) < order.index(Kind.LATE) < order.index(Kind.HEAD)
    assert not by_kind[Kind.HEAD].worth_running
    assert by_kind[Kind.SCRATCH].worth_running
    assert "fine-tuning may not help" in warned(pretrained=features(0.6), random=features(0.6))
    assert "fine-tuning may not help" not in warned()


def test_many_far_images_speak_for_scratch() -> None:
    """Training from scratch can be left out where images are few or near, not where they are many and far."""
    far = {"divergences": {"stem": 2.0, "stage1": 4.0, "stage2": 6.0}}
    many = {"images": {"intact": 40_000, "broken": 30_000}}
    assert not advised(**far)[Kind.SCRATCH].worth_running
    assert not advised(**many)[Kind.SCRATCH].worth_running
    assert advised(**far, **many)[Kind.SCRATCH].worth_running


def test_where_the_head_suffices_it_comes_first() -> None:
    """A linear probe at the ceiling leaves the other strategies nothing to gain."""
    by_kind = advised(pretrained=features(0.998))
    assert next(iter(by_kind)) == Kind.HEAD
    assert "0.998" in by_kind[Kind.HEAD].reason
    assert not by_kind[Kind.FULL].worth_running


def test_imbalance_names_the_remedy_and_who_lacks_it() -> None:
    """Strategies that treat classes alike already are not told to."""
    strategies = settings_of({"plain": {"train": "head"}, "fair": {"train": "head", "class_weights": True}})
    uneven = facts(images={"intact": 1000, "broken": 100})
    (warning,) = recommend(uneven, strategies).warnings
    assert "10 times" in warning
    assert "balanced accuracy" in warning
    assert "class_weights: true" in warning
    assert "plain" in warning
    assert "fair" not in warning
    (shorter,) = recommend(uneven, {"fair": strategies["fair"]}).warnings
    assert "class_weights" not in shorter


def test_other_channels_are_a_warning() -> None:
    """A first layer that is partly new is said; one that fits is not."""
    assert "4 channels" in warned(channels=4, channels_fit=False)
    assert "channels" not in warned(channels=1)


def test_what_was_not_measured_is_said() -> None:
    """Without probes the numbers of images decide, and the reader is told so."""
    assert "No features were measured" in warned(pretrained=None, random=None)
    assert next(iter(advised(pretrained=None, random=None))) == Kind.GENTLE


def test_the_text_has_every_strategy_reason_and_warning() -> None:
    """Terminal and report say the same as the record."""
    recommendation = recommend(facts(images={"intact": 60, "broken": 9}), settings_of(ONE_OF_EACH))
    lines, paragraph = recommendation.lines(), recommendation.paragraph()
    assert len(lines) == len(recommendation.order) + len(recommendation.warnings)
    for line, advice in zip(lines, recommendation.order, strict=False):
        assert advice.name in line
        assert advice.reason in line
        assert ("can be left out" in line) == (not advice.worth_running)
    assert paragraph.startswith(f"{recommendation.order[0].name} is expected to do best")
    assert all(warning in paragraph and f"Warning: {warning}" in lines for warning in recommendation.warnings)


AUROC = st.floats(0, 1)
FACTS = st.builds(
    facts,
    images=st.dictionaries(st.sampled_from("abcde"), st.integers(0, 20_000), min_size=1),
    channels=st.integers(1, 5),
    channels_fit=st.booleans(),
    pretrained=st.none() | st.builds(features, AUROC),
    random=st.none() | st.builds(features, AUROC),
    pixel_distance=st.none() | st.floats(0, 10),
    divergences=st.dictionaries(st.sampled_from(PARTS), st.floats(0, 1000)),
)
CHOSEN = st.lists(st.sampled_from(list(ONE_OF_EACH)), min_size=1, max_size=12)


@given(facts=FACTS, chosen=CHOSEN)
def test_advice_is_whole_whatever_the_facts(facts: Facts, chosen: list[str]) -> None:
    """Every strategy is ordered once, by its rank, the first one is worth running, and the record survives JSON."""
    strategies = settings_of({f"{name}{place}": ONE_OF_EACH[name] for place, name in enumerate(chosen)})
    recommendation = recommend(facts, strategies)
    assert {advice.name for advice in recommendation.order} == set(strategies)
    assert len(recommendation.order) == len(strategies)
    ranks = [advice.expected_rank for advice in recommendation.order]
    assert ranks == sorted(ranks)
    assert sum(ranks) == pytest.approx(len(ranks) * (len(ranks) + 1) / 2)
    assert recommendation.order[0].worth_running
    assert len({(advice.kind, advice.expected_rank) for advice in recommendation.order}) == len(set(chosen))
    assert all(
        text.endswith(".") for text in (*(advice.reason for advice in recommendation.order), *recommendation.warnings)
    )
    assert Recommendation.model_validate_json(recommendation.model_dump_json()) == recommendation
    assert Facts.model_validate_json(facts.model_dump_json()) == facts


SCORES = st.fixed_dictionaries({name: st.floats(0, 1) for name in ONE_OF_EACH})


@given(facts=FACTS, scores=SCORES)
def test_regret_is_what_following_the_advice_cost(facts: Facts, scores: dict[str, float]) -> None:
    """Never negative, never larger the more is run, and nothing once the best is among what is run."""
    recommendation = recommend(facts, settings_of(ONE_OF_EACH))
    regrets = [regret(recommendation, scores, first) for first in range(1, len(scores) + 1)]
    assert all(value >= 0 for value in regrets)
    assert regrets == sorted(regrets, reverse=True)
    best = max(scores.values())
    for first, value in enumerate(regrets, 1):
        assert (value == 0) == any(scores[advice.name] == best for advice in recommendation.order[:first])


def test_regret_passes_over_what_was_not_run() -> None:
    """Strategies without a score take no place; without any score there is nothing to regret."""
    recommendation = recommend(facts(), settings_of(ONE_OF_EACH))
    first, second, third = (advice.name for advice in recommendation.order[:3])
    assert regret(recommendation, {second: 0.8, third: 0.9}) == pytest.approx(0.1)
    assert regret(recommendation, {second: 0.8, third: 0.9}, first=2) == 0
    assert regret(recommendation, {first: 0.7, "added later": 0.9}) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="score"):
        regret(recommendation, {"added later": 0.9})
    with pytest.raises(ValueError, match="score"):
        regret(recommendation, {first: 0.9}, first=0)
