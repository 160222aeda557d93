"""Which strategy wins, and the paragraph that says why."""

from collections.abc import Sequence

from tasks.comparison.schema import Chance, StrategyResult
from tasks.comparison.statistics import METRIC_NAMES
from tasks.comparison.ties import compared, winner_of
from tasks.params import CompareParams
from tasks.wording import enumerated

CHEAPER = CompareParams().cheaper
NOT_BEGUN = "had not begun to learn, so that nothing follows from it about the pretrained weights"


def learned(chance: Chance, confidence: float) -> bool:
    """Return whether the best strategy scored better than chance would have it, at a confidence."""
    return chance.p_value <= 1 - confidence


def champion(
    ranked: list[StrategyResult], chance: Chance, confidence: float, cheaper: Sequence[str] = CHEAPER
) -> StrategyResult | None:
    """Return who wins of those that tie with the best one, or None if nothing was learned or all are excluded.

    Who costs less to run wins, and of those that cost the same the best: ``cheaper`` names the costs that decide, the
    first first, as in ``compare.cheaper``. A tie is a paired difference within one standard error (the
    one-standard-error rule of Breiman et al., Classification and Regression Trees, 1984, on paired resamples).

    Args:
        ranked: from the best to the worst.
        chance: what would be scored by chance.
        confidence: that it wasn't.
        cheaper: names of costs.
    """
    if not learned(chance, confidence):
        return None
    tied = [result for result in ranked if result.tied]
    if not tied:
        return None
    return winner_of(tied, lambda result: [result.cost(name) for name in cheaper])


def paragraph(
    ranked: list[StrategyResult],
    chance: Chance,
    metric: str,
    confidence: float,
    folds: int = 0,
    cheaper: Sequence[str] = CHEAPER,
) -> str:
    """Return the verdict on strategies ordered from best to worst, which were validated on one split or on folds."""
    winner, best = champion(ranked, chance, confidence, cheaper), ranked[0]
    name = METRIC_NAMES[metric]
    if best.excluded:
        broken = "; ".join(f"{result.name}: {', '.join(result.excluded)}" for result in ranked if result.excluded)
        sentence = f"There is no champion: every strategy breaks a limit ({broken})."
        return " ".join([sentence, *_lost_race(ranked)])
    if winner is None:
        reached = _figure(best.figure("val", metric)[0])
        by_folds = f" {_by_folds(folds, best)}" if folds else ""
        return (
            f"Nothing was learned: the best validation {name}, {reached} of {best.name}{by_folds}, is no better than "
            f"what {chance.p_value:.0%} of label permutations give by chance ({chance.high:.3f} at {confidence:.0%}). "
            "There is no champion: check the labels, or bring more images."
        )
    sentences = [
        f"{winner.name} wins: validation {name} {_with_interval(winner, 'val', metric)}, "
        f"test {name} {_with_interval(winner, 'test', metric)}, test accuracy "
        f"{_figure(winner.figure('test', 'accuracy')[0])} (intervals at {confidence:.0%}{_seeds_of(winner)})."
    ]
    if folds:
        sentences.append(f"It was chosen {_by_folds(folds, winner)}; tested is the network of the first fold.")
    if winner is not best and winner.versus_best:
        sentences.append(
            f"{best.name} scored {_signed(-winner.versus_best.difference)} higher on validation, which is within one "
            f"standard error ({winner.versus_best.standard_error:.3f}); {winner.name} is preferred because "
            f"{_costs_less(winner, best, cheaper)}."
        )
    else:
        behind = [result for result in ranked[1:] if _may_be_as_good(result, confidence)]
        if behind:
            names = enumerated(result.name for result in behind)
            sentences.append(f"At {confidence:.0%} confidence it can't be told apart from {names}.")
        elif len(ranked) > 1 and not any(result.stopped and result.stopped.may_tie for result in ranked):
            sentences.append("It is ahead of every other strategy by more than the noise of the validation split.")
    sentences += [f"{result.name} can't win: {'; '.join(result.excluded)}." for result in ranked if result.excluded]
    sentences += _lost_race(ranked)
    scratch = next((result for result in ranked if result.params["start"] == "random"), None)
    if scratch is not None:
        sentences.append(_against_scratch(scratch, winner, metric, confidence, chance))
    return " ".join(sentences)


def _costs_less(winner: StrategyResult, best: StrategyResult, cheaper: Sequence[str]) -> str:
    """Return in which cost a strategy beats the best one, in words."""
    less = [name for name in cheaper if winner.cost(name) < best.cost(name)]
    decides = next((name for name in less if compared([winner.cost(name)], [best.cost(name)])), less[0])
    share = _share(winner.cost(decides), best.cost(decides))
    if decides == "milliseconds":
        return f"{winner.network} answers an image in {share} of the time of {best.network}"
    if decides == "parameters":
        return f"it has {share} of the parameters"
    return (
        f"it trains {_share(winner.trainable_parameters, best.trainable_parameters)} of the parameters in "
        f"{_share(winner.train_seconds, best.train_seconds)} of the time"
    )


def _may_be_as_good(result: StrategyResult, confidence: float) -> bool:
    return result.versus_best is not None and result.versus_best.p_adjusted > 1 - confidence


def _lost_race(ranked: list[StrategyResult]) -> list[str]:
    """Return a sentence about those that the race stopped because they could not win; scratch has one of its own."""
    fine_tuned = [result for result in ranked if result.params["start"] != "random"]
    stops = [f"{result.name} ({result.stopped.margin})" for result in fine_tuned if result.stopped and result.lost_race]
    return [f"On validation the race stopped {enumerated(stops)}."] if stops else []


def _by_folds(folds: int, result: StrategyResult) -> str:
    return f"by {folds}-fold cross-validation on {result.val.images} images"


def starred(result: StrategyResult, champion: str | None) -> str:
    """Return a strategy's name: the champion's with a star, with a cross that of one that lost the race."""
    if result.lost_race:
        return f"× {result.name}"
    return f"★ {result.name}" if result.name == champion else result.name


def _against_scratch(
    scratch: StrategyResult,
    winner: StrategyResult,
    metric: str,
    confidence: float,
    chance: Chance,
) -> str:
    """Return what training from scratch says of the pretrained weights; nothing where it hardly trained."""
    name, reached = METRIC_NAMES[metric], scratch.figure("val", metric)[0]
    if winner is scratch:
        return "Warning: training from scratch is as good as any fine-tuning here: the pretrained weights don't help."
    at_chance = reached is not None and reached <= chance.high
    if scratch.stopped and scratch.lost_race:
        told = f"training from scratch was stopped {scratch.stopped.words}, by validation {name}"
        if scratch.stopped.may_tie:
            return f"Warning: {told}: the pretrained weights may help little."
        return f"{told[0].upper()}{told[1:]}{f'; it {NOT_BEGUN}' if at_chance else ''}."
    if at_chance:
        return (
            f"Training from scratch {NOT_BEGUN} (validation {name} {reached:.3f}, by chance up to {chance.high:.3f})."
        )
    gain = (winner.figure("test", metric)[0] or 0) - (scratch.figure("test", metric)[0] or 0)
    if _may_be_as_good(scratch, confidence):
        return (
            f"Warning: training from scratch can't be told apart from the best ({_signed(-gain)} test {name} against "
            f"{winner.name}): the pretrained weights help little."
        )
    return (
        f"Against training from scratch the pretrained weights are worth {_signed(gain)} test {name} "
        f"({_with_interval(scratch, 'test', metric)} from scratch)."
    )


def _with_interval(result: StrategyResult, split: str, metric: str) -> str:
    value, bounds = result.figure(split, metric)
    return f"{_figure(value)} [{bounds[0]:.3f}, {bounds[1]:.3f}]" if bounds else _figure(value)


def _seeds_of(result: StrategyResult) -> str:
    return f", means over {len(result.over_seeds.seeds)} seeds" if result.over_seeds else ""


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _signed(value: float) -> str:
    return f"{value:+z.3f}"


def _share(part: float, whole: float) -> str:
    if part <= 0 or whole <= 0:
        return "a part"
    return f"1/{whole / part:.0f}" if whole / part >= 2 else f"{part / whole:.0%}"
