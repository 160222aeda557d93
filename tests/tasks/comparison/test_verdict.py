"""The verdict names the right strategy and warns where a warning is due."""

from typing import Any

import pytest

from tasks.comparison import verdict
from tasks.comparison.schema import Chance, StrategyResult, Versus
from tests.tasks.comparison.conftest import LEARNED, MakeEntrant, ranked_of, stopped


def planted(
    base: StrategyResult, name: str, difference: float = 0.0, error: float = 0.01, **changes: Any
) -> StrategyResult:
    """Return a result that lies a difference behind the best, with an interval of two standard errors."""
    versus = Versus(
        difference=difference,
        low=difference - 2 * error,
        high=difference + 2 * error,
        standard_error=error,
        p_value=0.5,
        p_adjusted=0.01 if difference + 2 * error < 0 else 0.5,
        mcnemar=0.5,
    )
    tied = difference == 0 or -difference <= error
    return base.model_copy(update={"name": name, "versus_best": versus, "tied": tied, **changes})


@pytest.fixture
def base(entrant: MakeEntrant) -> StrategyResult:
    """A result to plant others from."""
    return ranked_of([entrant("base", 2.0)])[0]


def paragraph(ranked: list[StrategyResult]) -> str:
    """Return the verdict by AUROC."""
    return verdict.paragraph(ranked, LEARNED, "auroc", 0.95)


def winner(ranked: list[StrategyResult]) -> str:
    """Return the champion's name."""
    winner = verdict.champion(ranked, LEARNED, 0.95)
    assert winner is not None
    return winner.name


def test_without_a_tie_the_best_wins(base: StrategyResult) -> None:
    """Cheapness is no merit of a strategy that is clearly worse."""
    ranked = [
        planted(base, "full", trainable_parameters=900),
        planted(base, "head_only", -0.2, trainable_parameters=1, train_seconds=0.1),
    ]
    assert winner(ranked) == "full"
    text = paragraph(ranked)
    assert text.startswith("full wins")
    assert "ahead of every other strategy" in text
    assert "head_only" not in text


def test_a_tie_goes_to_the_cheaper(base: StrategyResult) -> None:
    """Within one standard error what costs less to run wins, the better of those that cost about the same."""
    ranked = [
        planted(base, "large", parameters=900, network="slow", milliseconds=40.0),
        planted(base, "small", -0.004, parameters=98, network="quick", milliseconds=10.2),
        planted(base, "smaller", -0.005, parameters=90, network="quick", milliseconds=10.0),
        planted(base, "worse", -0.3, parameters=9, network="other", milliseconds=1.0),
    ]
    assert winner(ranked) == "small"
    text = paragraph(ranked)
    assert text.startswith("small wins")
    assert "large scored +0.004 higher" in text
    assert "quick answers an image in 1/4 of the time of slow" in text


def test_what_training_costs_decides_no_tie_unless_it_is_asked_to(base: StrategyResult) -> None:
    """Of those that cost the same to run the best wins; params may have fewer trained weights, then seconds, decide."""
    ranked = [
        planted(base, "full", trainable_parameters=900, train_seconds=40.0),
        planted(base, "partial", -0.004, trainable_parameters=90, train_seconds=30.0),
        planted(base, "quick", -0.005, trainable_parameters=90, train_seconds=10.0),
    ]
    assert winner(ranked) == "full"
    assert "higher" not in paragraph(ranked)
    text = verdict.paragraph(ranked, LEARNED, "auroc", 0.95, cheaper=("trainable_parameters", "train_seconds"))
    assert text.startswith("quick wins")
    assert "full scored +0.005 higher" in text
    assert "1/10 of the parameters in 1/4 of the time" in text


def test_the_verdict_gives_the_winners_figures(base: StrategyResult) -> None:
    """Scores on both splits with their intervals, and the confidence they are at."""
    text = paragraph([base])
    for split in (base.val, base.tested):
        bounds = split.intervals["auroc"]
        assert bounds is not None
        assert f"{split.auroc:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}]" in text
    assert f"test accuracy {base.tested.accuracy:.3f}" in text
    assert "95%" in text
    assert "AUROC" in text


def test_the_verdict_says_who_is_not_told_apart(base: StrategyResult) -> None:
    """Strategies whose interval reaches the winner's are named, those behind it are not."""
    ranked = [
        planted(base, "winner", trainable_parameters=1),
        planted(base, "near", -0.015),
        planted(base, "nearer", -0.012),
        planted(base, "behind", -0.3),
    ]
    text = paragraph(ranked)
    assert "can't be told apart from near and nearer." in text
    assert "behind" not in text


SCRATCH = {"start": "random"}


def test_without_scratch_nothing_is_said_of_it(base: StrategyResult) -> None:
    """The worth of pretraining is claimed only where it was measured."""
    text = paragraph([planted(base, "full"), planted(base, "head_only", -0.2)])
    assert "scratch" not in text
    assert "pretrained" not in text


def test_what_pretraining_is_worth(base: StrategyResult, entrant: MakeEntrant) -> None:
    """A clear lead over scratch is given as a gain on the test split."""
    poor = ranked_of([entrant("scratch", 1.6)])[0]
    ranked = [planted(base, "full"), planted(poor, "scratch", -0.3, params=SCRATCH)]
    assert base.tested.auroc is not None
    assert poor.tested.auroc is not None
    text = paragraph(ranked)
    assert f"worth {base.tested.auroc - poor.tested.auroc:+.3f} test AUROC" in text
    assert "Warning" not in text


def test_scratch_that_did_not_begin_to_learn_says_nothing(base: StrategyResult, entrant: MakeEntrant) -> None:
    """What chance gives, too, is no measure of what the pretrained weights are worth."""
    chance = Chance(high=0.99, p_value=0.01)
    poor = ranked_of([entrant("scratch", 0.2)])[0]
    ranked = [planted(base, "full"), planted(poor, "scratch", -0.3, params=SCRATCH)]
    text = verdict.paragraph(ranked, chance, "auroc", 0.95)
    assert poor.val.auroc is not None
    assert "had not begun to learn, so that nothing follows from it about the pretrained weights" in text
    assert f"(validation AUROC {poor.val.auroc:.3f}, by chance up to 0.990)" in text
    assert "worth" not in text


def test_scratch_that_lost_the_race_is_behind_by_so_much_at_least(entrant: MakeEntrant) -> None:
    """No gain on the test split is claimed, which it never saw; the others that lost are named with their distance."""
    lost = [stopped(entrant("scratch", 0.1, start="random")), stopped(entrant("full", 1.0)), entrant("head_only", 4.0)]
    text = paragraph(ranked_of(lost))
    assert text.startswith("head_only wins")
    assert "On validation the race stopped full (at least 0.170 behind)." in text
    assert text.endswith(
        "Training from scratch was stopped after 30 of 120 images, at least 0.170 behind head_only, by validation "
        "AUROC; it had not begun to learn, so that nothing follows from it about the pretrained weights."
    )
    learned = [stopped(entrant("scratch", 1.5, start="random")), entrant("head_only", 4.0)]
    assert paragraph(ranked_of(learned)).endswith("at least 0.170 behind head_only, by validation AUROC.")
    assert "told apart" not in text
    assert "Warning" not in text


def test_who_was_stopped_and_may_tie_is_not_called_behind(entrant: MakeEntrant) -> None:
    """The winner is not said to be ahead of all; scratch that may be as good is a warning."""
    may_tie = [
        stopped(entrant("scratch", 3.0, start="random"), at_least=-0.008),
        stopped(entrant("full", 3.0), at_least=-0.012),
    ]
    text = paragraph(ranked_of([*may_tie, entrant("head_only", 4.0)]))
    assert text.startswith("head_only wins")
    assert "ahead of every other" not in text
    assert "On validation the race stopped full (at best 0.012 ahead, no more than noise)." in text
    assert text.endswith(
        "Warning: training from scratch was stopped after 30 of 120 images, at best 0.008 ahead of head_only, no more "
        "than noise, by validation AUROC: the pretrained weights may help little."
    )


def test_a_warning_when_scratch_is_as_good(base: StrategyResult) -> None:
    """Scratch within the noise of the best is a warning, and never a gain of minus nothing."""
    text = paragraph([planted(base, "full", trainable_parameters=1), planted(base, "scratch", -0.015, params=SCRATCH)])
    assert text.startswith("full wins")
    assert "Warning: training from scratch can't be told apart" in text
    assert "-0.000" not in text


def test_a_warning_when_scratch_wins(base: StrategyResult) -> None:
    """Pretrained weights that don't help are called what they are."""
    text = paragraph([planted(base, "scratch", params=SCRATCH), planted(base, "full", -0.3)])
    assert text.startswith("scratch wins")
    assert "Warning: training from scratch is as good as any fine-tuning" in text


def test_equal_strategies_are_not_called_higher(entrant: MakeEntrant) -> None:
    """Where two strategies predict the same, the cheaper wins and nobody scored higher."""
    ranked = ranked_of([entrant("slow", 2.0, 100, 20.0), entrant("fast", 2.0, 100, 5.0)])
    text = paragraph(ranked)
    assert text.startswith("fast wins")
    assert "higher" not in text
    assert "can't be told apart from slow" in text


@pytest.mark.parametrize("metric", verdict.METRIC_NAMES)
def test_every_metric_has_a_verdict(entrant: MakeEntrant, metric: str) -> None:
    """Whatever metric is asked for, the paragraph names it in words."""
    text = verdict.paragraph(ranked_of([entrant("a", 2.0), entrant("b", 1.0)]), LEARNED, metric, 0.9)
    assert f"validation {verdict.METRIC_NAMES[metric]} " in text
    assert "_" not in text


def test_what_chance_gives_too_is_no_victory(base: StrategyResult) -> None:
    """Where permuted labels score as high there is no champion, and the verdict says what to do."""
    chance = Chance(high=0.61, p_value=0.3)
    ranked = [planted(base, "full"), planted(base, "scratch", -0.1, params=SCRATCH)]
    assert verdict.champion(ranked, chance, 0.95) is None
    text = verdict.paragraph(ranked, chance, "auroc", 0.95)
    assert text.startswith("Nothing was learned")
    assert "30% of label permutations" in text
    assert "wins" not in text


def test_folds_are_told_whether_or_not_something_was_learned(base: StrategyResult) -> None:
    """Where all folds chose, the verdict says how many there were, and of how many images."""
    ranked = [planted(base, "full")]
    said = f"by 5-fold cross-validation on {base.val.images} images"
    for chance in (LEARNED, Chance(high=0.9, p_value=0.5)):
        assert said in verdict.paragraph(ranked, chance, "auroc", 0.95, folds=5)
        assert "cross-validation" not in verdict.paragraph(ranked, chance, "auroc", 0.95)


def test_a_tie_goes_to_the_faster_network(base: StrategyResult) -> None:
    """Milliseconds of the network come first, whatever trains; params may want it otherwise, and the verdict says."""
    ranked = [
        planted(base, "slow/head_only", network="slow", milliseconds=20.0, trainable_parameters=1, train_seconds=1.0),
        planted(
            base, "fast/full", -0.001, network="fast", milliseconds=10.0, trainable_parameters=9, train_seconds=9.0
        ),
    ]
    assert winner(ranked) == "fast/full"
    assert "preferred because fast answers an image in 1/2 of the time of slow" in paragraph(ranked)
    by_training = verdict.champion(ranked, LEARNED, 0.95, ["train_seconds"])
    assert by_training is not None
    assert by_training.name == "slow/head_only"
