"""Strategies come out in the right order, with their scores and their costs."""

from dataclasses import replace

import numpy as np
import pytest

from tasks.comparison.entrants import Entrant, Repeated
from tasks.comparison.ranking import Measured, advised, chance, rank
from tasks.comparison.schema import StrategyResult
from tasks.comparison.verdict import champion, paragraph
from tasks.evaluation import metrics
from tasks.evaluation.predictions import probabilities_of
from tasks.params import CompareParams
from tests.tasks.comparison.conftest import (
    LEARNED,
    PARAMS,
    MakeEntrant,
    measured,
    ranked_of,
    recommended,
    stopped,
    versus,
)

CLASSES = ["intact", "broken"]


def test_the_best_on_validation_is_first(entrant: MakeEntrant) -> None:
    """The order follows the validation metric, whatever the order the strategies were given in."""
    entrants = [entrant("middling", 1.0), entrant("good", 4.0), entrant("poor", 0.1)]
    for given in (entrants, entrants[::-1]):
        ranked = ranked_of(given)
        assert [result.name for result in ranked] == ["good", "middling", "poor"]
        assert [result.rank for result in ranked] == [1, 2, 3]


def test_results_are_those_of_the_predictions(entrant: MakeEntrant) -> None:
    """Scores, intervals and costs belong to the strategy that they stand beside, on the split that they name."""
    entrants = {entered.name: entered for entered in (entrant("a", 1.0, 7, 3.0), entrant("b", 2.0, 8, 4.0, seed=1))}
    for result in ranked_of(list(entrants.values())):
        ran = entrants[result.name]
        for scores, table in ((result.val, ran.tables("val")[0]), (result.tested, ran.tables("test")[0])):
            targets = table["label"].map(CLASSES.index).to_numpy()
            expected = metrics.report(targets, probabilities_of(table, CLASSES), CLASSES, table["subset"].tolist())
            assert scores.model_dump(exclude={"intervals"}) == expected
            for name in ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "average_precision"):
                bounds = scores.intervals[name]
                assert bounds is not None
                assert bounds[0] <= getattr(scores, name) <= bounds[1]
                assert bounds[0] < bounds[1]
        assert result.trainable_parameters == ran.run["trainable_parameters"]
        assert result.train_seconds == ran.run["train_seconds"]
        assert result.mlflow_run_id == ran.run["mlflow_run_id"]
        assert result.history == ran.history


def test_everyone_is_measured_against_the_best(entrant: MakeEntrant) -> None:
    """The best differs from itself by nothing; the others are behind it, and far behind is no tie."""
    best, near, far = ranked_of([entrant("near", 3.0, seed=1), entrant("far", 0.0), entrant("best", 3.5)])
    assert (versus(best).difference, versus(best).p_value, best.tied) == (0, 1, True)
    for result in (near, far):
        assert result.val.auroc is not None
        assert best.val.auroc is not None
        assert versus(result).difference == pytest.approx(result.val.auroc - best.val.auroc)
        assert result.tied == (-versus(result).difference <= versus(result).standard_error)
    assert not far.tied
    assert versus(far).high < 0
    assert versus(far).p_value < 0.05


def order(ranked: list[StrategyResult]) -> list[str]:
    """Return the names in their order."""
    return [result.name for result in ranked]


def test_equal_strategies_are_ordered_by_cost(entrant: MakeEntrant) -> None:
    """With the same predictions fewer trainable parameters come first, then fewer seconds; all are ties."""
    ranked = ranked_of([entrant("large", 2.0, 500, 1.0), entrant("slow", 2.0, 50, 9.0), entrant("cheap", 2.0, 50, 2.0)])
    assert order(ranked) == ["cheap", "slow", "large"]
    assert all(result.tied for result in ranked)


def test_the_metric_that_is_asked_for_decides(entrant: MakeEntrant) -> None:
    """A strategy that ranks well but answers the wrong way round wins by AUROC and loses by accuracy."""
    ranks, guesses = entrant("ranks", 4.0), entrant("guesses", 2.0)
    for table in (*ranks.tables("val"), *ranks.tables("test")):  # the same ranking, all answers "intact"
        broken = table["p[broken]"] * 0.4
        table["p[broken]"], table["p[intact]"] = broken, 1 - broken
    by = {
        metric: order(rank([ranks, guesses], CLASSES, CompareParams(metric=metric, resamples=100)))[0]
        for metric in ("auroc", "average_precision", "accuracy", "balanced_accuracy", "macro_f1")
    }
    assert by["auroc"] == by["average_precision"] == "ranks"
    assert by["accuracy"] == by["balanced_accuracy"] == by["macro_f1"] == "guesses"


def test_the_test_split_does_not_choose(entrant: MakeEntrant) -> None:
    """What happens on the test split changes neither order nor ties."""
    entrants = [entrant("a", 2.0), entrant("b", 1.0, seed=1)]
    before = ranked_of(entrants)
    (tested,) = entrants[0].tables("test")
    tested[["p[intact]", "p[broken]"]] = tested[["p[broken]", "p[intact]"]].to_numpy()
    after = ranked_of(entrants)
    assert order(after) == order(before)
    assert [result.versus_best for result in after] == [result.versus_best for result in before]
    assert after[0].test != before[0].test


def test_the_seed_decides_the_resamples(entrant: MakeEntrant) -> None:
    """The same seed gives the same intervals, another one nearly the same."""
    entrants = [entrant("a", 1.0)]
    first, again, other = (
        rank(entrants, CLASSES, CompareParams(resamples=400, seed=seed))[0].val.intervals["auroc"] for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other
    assert first is not None
    assert other is not None
    np.testing.assert_allclose(first, other, atol=0.05)


def test_many_strategies_make_a_difference_less_certain(entrant: MakeEntrant) -> None:
    """The same two strategies are told apart with less confidence when more were tried."""
    best, near = entrant("best", 6.0), entrant("near", 1.5, seed=1)
    of_two = versus(ranked_of([best, near])[1])
    crowd = [entrant(f"other{seed}", 1.0, seed=seed) for seed in range(2, 7)]
    among = versus(next(result for result in ranked_of([best, near, *crowd]) if result.name == "near"))
    assert of_two.p_adjusted == of_two.p_value == among.p_value
    assert among.p_adjusted > of_two.p_adjusted
    assert among.mcnemar >= of_two.mcnemar


def test_what_nothing_beats_in_everything_is_efficient(entrant: MakeEntrant) -> None:
    """The best and the cheapest are; one that is worse and dearer than another is not."""
    ranked = ranked_of(
        [entrant("best", 4.0, 900, 90.0), entrant("cheap", 1.0, 1, 1.0), entrant("wasted", 0.5, 900, 99.0)]
    )
    assert {result.name for result in ranked if result.efficient} == {"best", "cheap"}


def test_skill_beats_chance_and_guesses_do_not(entrant: MakeEntrant) -> None:
    """Among many strategies that know nothing, even the luckiest is not taken for one that learned."""
    guesses = [entrant(f"guess{seed}", 0.0, seed=seed) for seed in range(8)]
    assert chance(guesses, CLASSES, PARAMS).p_value > 0.05
    learned = chance([*guesses, entrant("learned", 3.0)], CLASSES, PARAMS)
    assert learned.p_value < 0.05
    assert 0.5 < learned.high < 1


@pytest.mark.parametrize("confidence", [0.95, 0.999])
def test_what_is_certain_stays_so_at_any_confidence(entrant: MakeEntrant, confidence: float) -> None:
    """However few resamples and permutations are asked for, there are enough to reach the confidence."""
    params = CompareParams(confidence=confidence, resamples=100, permutations=100)
    entrants = [entrant("sure", 9.0), *(entrant(f"guess{seed}", 0.0, seed=seed) for seed in range(7))]
    assert chance(entrants, CLASSES, params).p_value <= 1 - confidence
    assert versus(rank(entrants, CLASSES, params)[-1]).p_adjusted <= 1 - confidence


def with_seeds(first: Entrant, *others: Entrant) -> Entrant:
    """Return a strategy that ran with several seeds."""
    return replace(first, seeds=[Repeated(other.run, other.val, other.test) for other in others])


def test_a_lucky_seed_does_not_win(entrant: MakeEntrant) -> None:
    """A strategy whose first seed is best and whose others are poor ranks behind one that is good with every seed."""
    lucky = with_seeds(entrant("lucky", 9.0), entrant("lucky", 0.2, seed=1), entrant("lucky", 0.2, seed=2))
    steady = with_seeds(entrant("steady", 4.0), entrant("steady", 4.0, seed=1), entrant("steady", 4.0, seed=2))
    assert order(ranked_of([lucky, steady])) == ["steady", "lucky"]
    assert order(ranked_of([entrant("lucky", 9.0), entrant("steady", 4.0)])) == ["lucky", "steady"]
    result = ranked_of([lucky, steady])[1]
    assert result.over_seeds is not None
    assert result.over_seeds.seeds == [0, 1, 2]
    first, mean = result.val.intervals["auroc"], result.over_seeds.val["auroc"].interval
    assert first is not None
    assert mean is not None
    assert mean[1] - mean[0] > first[1] - first[0], "the spread of the seeds is in the interval"
    assert result.figure("val", "auroc") == (result.over_seeds.val["auroc"].mean, mean)
    assert result.val.auroc == result.over_seeds.val["auroc"].values[0]
    near_perfect = with_seeds(entrant("sure", 9.0), entrant("sure", 5.0, seed=1))
    for spread in ranked_of([near_perfect])[0].over_seeds.val.values():  # type: ignore[union-attr]
        assert spread.interval is not None
        assert 0 <= spread.interval[0] <= spread.interval[1] <= 1


@pytest.mark.parametrize("limit", ["max_ece", "max_drop", "min_group"])
def test_a_limit_keeps_a_strategy_from_winning(entrant: MakeEntrant, limit: str) -> None:
    """One that is overconfident, breaks on corrupted images or fails a group ranks last, and the other one wins."""
    entrants = [entrant("best", 6.0), entrant("second", 2.0, seed=1)]
    best = entrants[0]
    if limit == "min_group":
        unfair = best.val.assign(subset=["rare", "common"] * (len(best.val) // 2))
        rare = unfair["subset"] == "rare"
        unfair.loc[rare, ["p[intact]", "p[broken]"]] = unfair.loc[rare, ["p[broken]", "p[intact]"]].to_numpy()
        entrants[0] = replace(best, val=unfair)
    errors = {result.name: result.val.ece or 0.0 for result in ranked_of(entrants)}
    value = {"max_ece": sum(errors.values()) / 2, "max_drop": 0.3, "min_group": 0.5}[limit]
    loser, winner = ("best", "second") if limit != "max_ece" else sorted(errors, key=lambda name: -errors[name])
    asked: list[str] = []

    def measure(name: str) -> Measured:
        asked.append(name)
        return measured(name, 0.5 if name == "best" else 0.2)

    ranked = rank(entrants, CLASSES, CompareParams.model_validate({"resamples": 100, limit: value}), measure)
    assert asked == (["best", "second"] if limit == "max_drop" else [winner]), "only who can win is measured"
    assert order(ranked) == [winner, loser]
    (broken,) = ranked[1].excluded
    assert limit in broken
    assert not ranked[0].excluded
    assert not ranked[1].tied
    chosen = champion(ranked, LEARNED, 0.95)
    assert chosen is not None
    assert chosen.name == winner
    assert f"{loser} can't win: {broken}" in paragraph(ranked, LEARNED, "auroc", 0.95)


def test_where_all_break_a_limit_there_is_no_champion(entrant: MakeEntrant) -> None:
    """The verdict says which limit each of them breaks."""
    ranked = rank([entrant("a", 2.0), entrant("b", 1.0)], CLASSES, CompareParams(resamples=100, max_drop=0.0), measured)
    assert champion(ranked, LEARNED, 0.95) is None
    sentence = paragraph(ranked, LEARNED, "auroc", 0.95)
    assert sentence.startswith(
        "There is no champion: every strategy breaks a limit (a: loses 18.8% on corrupted images"
    )


def test_what_lost_the_race_comes_last_and_is_not_tested(entrant: MakeEntrant) -> None:
    """It neither wins nor ties, however high it had scored, and has no figure but that of where it stopped."""
    ahead = stopped(entrant("ahead", 9.0, trainable=1, start="random"))
    ranked = ranked_of([ahead, entrant("good", 4.0), stopped(entrant("poor", 0.1)), entrant("middling", 1.0)])
    assert order(ranked) == ["good", "middling", "ahead", "poor"]
    assert [result.rank for result in ranked] == [1, 2, 3, 4]
    assert [result.lost_race for result in ranked] == [False, False, True, True]
    for result in ranked[2:]:
        assert result.stopped is not None
        assert (result.stopped.images, result.stopped.of_images, result.stopped.at_least) == (30, 120, 0.17)
        assert result.test is result.calibration is result.serving is result.robustness is result.versus_best is None
        assert result.figure("test", "auroc") == (None, None)
        assert result.val.auroc is not None
        assert not any(result.val.intervals.values()), "what is not final has no interval"
        assert [result.tied, result.efficient, result.excluded] == [False, False, []]
        with pytest.raises(ValueError, match="was not tested"):
            _ = result.tested
    assert all(result.epochs_to_scratch is None for result in ranked), "scratch never got to its best"
    alone = ranked_of([entrant("good", 4.0), entrant("middling", 1.0)])
    assert [versus(result).p_adjusted for result in ranked[:2]] == [versus(result).p_adjusted for result in alone]


@pytest.mark.parametrize(("cheaper", "winner"), [((), "best"), (("trainable_parameters",), "same")])
def test_only_who_wins_is_measured(entrant: MakeEntrant, cheaper: tuple[str, ...], winner: str) -> None:
    """What answers cost and how they stand corruption is known of it, and of no other, be it ever so close."""
    entrants = [
        entrant("best", 4.0, 900), entrant("same", 3.9, 9), entrant("far", 0.1), stopped(entrant("lost", 4.0))
    ]  # fmt: skip
    for limits in ({}, {"max_drop": 0.5}):
        params = CompareParams.model_validate({"resamples": 100, "cheaper": cheaper, **limits})
        asked: list[str] = []

        def measure(name: str, asked: list[str] = asked) -> Measured:
            asked.append(name)
            return measured(name)

        ranked = rank(entrants, CLASSES, params, measure)
        assert asked == [winner]
        assert {result.name for result in ranked if result.serving and result.robustness} == {winner}
    assert not any(result.serving for result in rank(entrants, CLASSES, PARAMS))


def test_the_title_passes_on_until_one_stands_corruption(entrant: MakeEntrant) -> None:
    """Strategies are measured from the best downwards, and not below the first that keeps its score."""
    entrants = [entrant(name, skill) for name, skill in (("best", 9.0), ("next", 4.0), ("third", 1.5), ("last", 0.1))]
    drops, asked = {"best": 0.4, "next": 0.3, "third": 0.1}, list[str]()

    def measure(name: str) -> Measured:
        asked.append(name)
        return measured(name, drops[name])

    ranked = rank(entrants, CLASSES, CompareParams(resamples=100, max_drop=0.2), measure)
    assert asked == ["best", "next", "third"]
    assert order(ranked) == ["third", "last", "best", "next"]
    winner = champion(ranked, LEARNED, 0.95)
    assert winner is not None
    assert winner.name == "third"


def test_what_was_out_of_time_may_still_win(entrant: MakeEntrant) -> None:
    """A stop without evidence against a strategy says that training was short, and nothing of who is better."""
    short = entrant("short", 4.0)
    short.run["stopped"] = {"reason": "the budget is spent", "images": 40, "of_images": 120}
    ranked = ranked_of([entrant("whole", 1.0), short])
    assert order(ranked) == ["short", "whole"]
    assert not ranked[0].lost_race
    assert ranked[0].test is not None
    assert ranked[0].stopped is not None
    assert ranked[0].stopped.words == "after 40 of 120 images: the budget is spent"


def test_a_stopped_strategy_counts_with_what_it_could_have_reached(entrant: MakeEntrant) -> None:
    """Having recommended it would have cost that much at least, and its score so far is taken for nothing."""
    ranked = ranked_of([entrant("good", 9.0), stopped(entrant("lost", 0.1))])
    best = ranked[0].val.auroc
    assert best is not None
    assert advised(recommended(["lost", "good"]), ranked, "auroc").regret == pytest.approx(best - 0.72)


def test_chance_counts_all_that_were_tried(entrant: MakeEntrant) -> None:
    """Among many that were stopped the luckiest is higher by chance than among few; other images don't count."""
    guesses = [entrant(f"guess{seed}", 0.0, seed=seed) for seed in range(8)]
    tried = [guesses[0], *map(stopped, guesses[1:])]
    assert chance(tried, CLASSES, PARAMS).high == chance(guesses, CLASSES, PARAMS).high
    first_fold = [replace(one, val=one.val.iloc[::2]) for one in tried[1:]]
    assert chance([guesses[0], *first_fold], CLASSES, PARAMS) == chance(guesses[:1], CLASSES, PARAMS)
    assert ranked_of([guesses[0], *first_fold])[1].val.images == len(first_fold[0].val)
