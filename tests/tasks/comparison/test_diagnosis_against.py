"""Strategies that really did worse than others are told apart from those that are merely behind."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tasks.arrays import Floats
from tasks.comparison.diagnosis_against import chance_of, diagnose_against
from tasks.evaluation import suggestions
from tasks.evaluation.curves import Run
from tasks.evaluation.diagnosis import Diagnosis
from tasks.evaluation.metrics import scores
from tasks.params import CompareParams
from tests.tasks.evaluation.fitting import Fit, Fitted, Splits, few, mislabelled

PARAMS = CompareParams(metric="auroc", resamples=500)


@pytest.fixture(scope="module")
def pretrained(fit: Fit, kinds: Splits) -> Fitted:
    """A network that tells the kinds apart."""
    return fit("pretraining", kinds, train="all", lr=0.003, epochs=10)


def diagnosed(runs: Sequence[Run]) -> dict[str, dict[str, Diagnosis]]:
    """Return the findings of every run beside the others, by run and tag."""
    return {name: {f.tag: f for f in found} for name, found in diagnose_against(runs, PARAMS).items()}


def auroc(run: Run) -> float:
    """Return a run's area under the ROC curve."""
    value = scores(run.targets, run.answers)["auroc"]
    assert value is not None
    return value


def test_strategies_that_suit_the_images_have_no_findings(fit: Fit, kinds: Splits, pretrained: Fitted) -> None:
    """From weights that know the images any way is fine, and scratch is merely behind."""
    runs = [
        fit("probe", kinds, pretrained.state, train="head", solver="lbfgs").run,
        fit("full", kinds, pretrained.state, train="all", lr=0.0003, epochs=3).run,
        fit("last", kinds, pretrained.state, train=["stages[-1]", "head"], lr=0.001, epochs=3).run,
        fit("scratch", kinds, train="all", start="random", lr=0.0003, epochs=3).run,
    ]
    assert {name: tags for name, tags in diagnosed(runs).items() if tags} == {}


def test_training_that_spoils_what_the_weights_knew(fit: Fit, kinds: Splits, pretrained: Fitted) -> None:
    """It is worse than the head alone; with the head first and a tenth of the rate it is not."""
    splits = Splits(few(kinds.train, 16), kinds.val)
    probe = fit("probe", splits, pretrained.state, train="head", solver="lbfgs").run
    wild = fit("wild", splits, pretrained.state, train="all", lr=0.03, epochs=6).run
    tags = diagnosed([probe, wild])
    assert tags["probe"] == {}
    assert list(tags["wild"]) == ["thawed_too_far"]
    suggestion = tags["wild"]["thawed_too_far"].suggestion
    assert suggestion is not None
    gentle = fit("gentle", splits, pretrained.state, settings=suggestions.merged(wild.settings, suggestion)).run
    assert auroc(gentle) > auroc(wild)
    walked = replace(probe, settings=probe.settings.model_copy(update={"solver": "steps"}))
    (diagnosis,) = diagnose_against([wild, walked], PARAMS)["wild"]
    assert diagnosis.suggestion == {"lr": pytest.approx(0.003)}, "nothing says that the head can be solved"


def test_training_that_is_cut_short_spoilt_nothing(fit: Fit, kinds: Splits, pretrained: Fitted) -> None:
    """A few small steps leave a new head behind a solved one: four times as many are better, and are suggested."""
    two_layers = {"kind": "mlp", "hidden": 32}
    for images in (32, 64):
        splits = Splits(few(kinds.train, images), kinds.val)
        probe = fit("probe", splits, pretrained.state, train="head", solver="lbfgs").run
        short = fit("short", splits, pretrained.state, train="head", lr=0.0003, epochs=4, head=two_layers).run
        tags = diagnosed([probe, short])
        assert tags["probe"] == {}
        assert list(tags["short"]) == ["undertrained"]
        assert "probe, whose head is solved" in tags["short"]["undertrained"].evidence
        suggestion = tags["short"]["undertrained"].suggestion
        assert suggestion == {"epochs": 16}
        longer = fit("longer", splits, pretrained.state, settings=suggestions.merged(short.settings, suggestion)).run
        assert min(row["val_loss"] for row in longer.history) < min(row["val_loss"] for row in short.history)
        assert auroc(longer) > auroc(short)


def test_training_that_wipes_out_what_the_weights_knew(fit: Fit, kinds: Splits, pretrained: Fitted) -> None:
    """It ends at guessing, which a rate that is too low does, too, but without having moved."""
    probe = fit("probe", kinds, pretrained.state, train="head", solver="lbfgs").run
    full = fit("full", kinds, pretrained.state, train="all", lr=0.001, epochs=5).run

    def guessing(name: str, *losses: float) -> Run:
        rows = [
            dict(row) | {"train_loss": loss, "val_loss": 0.7} for row, loss in zip(full.history, losses, strict=True)
        ]
        return replace(full, name=name, history=rows, probabilities=np.full_like(full.answers, 0.5))

    hot, cold = guessing("hot", 0.81, 0.75, 0.7, 0.69, 0.69), guessing("cold", 0.7, 0.71, 0.7, 0.7, 0.7)
    tags = diagnosed([probe, full, hot, cold])
    assert tags["hot"]["rate_too_high"].suggestion == {"lr": pytest.approx(0.0001)}
    assert tags["probe"] == tags["full"] == {}
    assert "rate_too_high" not in tags["cold"]
    assert "rate_too_high" not in diagnosed([hot])["hot"], "nothing says that there is something to learn"


def test_features_that_do_not_suffice(fit: Fit, kinds: Splits) -> None:
    """The head alone fits what it trains on worse than others fit what they never saw; one more stage helps."""
    state = fit("elsewhere", mislabelled(kinds, 0.5), network="narrow", train="all", lr=0.01, epochs=4).state
    probe = fit("probe", kinds, state, network="narrow", train="head", solver="lbfgs", lr=0.01, epochs=5).run
    full = fit("full", kinds, state, network="narrow", train="all", lr=0.003, epochs=8).run
    tags = diagnosed([probe, full])
    assert tags["full"] == {}
    suggestion = tags["probe"]["frozen_too_deep"].suggestion
    assert suggestion is not None
    assert suggestion["phases"][-1]["train"] == ["stage3", "head"]
    settings = suggestions.merged(probe.settings, suggestion)
    deeper = fit("deeper", kinds, state, network="narrow", settings=settings).run
    assert deeper.trained == {"stage3", "head"}
    assert deeper.history[-1]["train_loss"] < probe.history[-1]["train_loss"]


def test_weights_that_are_no_better_than_none(fit: Fit, kinds: Splits, pretrained: Fitted) -> None:
    """All that were pretrained are told so, unless one of them is better than scratch."""
    elsewhere = fit("elsewhere", mislabelled(kinds, 0.5), train="all", lr=0.01, epochs=4)
    scratch = fit("scratch", kinds, train="all", start="random", lr=0.003, epochs=7).run
    last = fit("last", kinds, elsewhere.state, train=["stages[-1]", "head"], lr=0.003, epochs=3).run
    probe = fit("probe", kinds, elsewhere.state, train="head", solver="lbfgs").run
    tags = diagnosed([scratch, last, probe])
    assert "domain_too_far" in tags["last"]
    assert "domain_too_far" in tags["probe"]
    assert tags["last"]["domain_too_far"].suggestion is None
    assert tags["scratch"] == {}
    weak = replace(probe, name="weak", settings=scratch.settings)
    assert all("domain_too_far" not in tags for tags in diagnosed([weak, pretrained.run, probe]).values())


def test_labels_that_mean_nothing(fit: Fit, kinds: Splits) -> None:
    """Nothing is learned, whether training fits them or not; the same network learns what labels mean something."""
    noise = fit("noise", mislabelled(kinds, 0.5), train="all", lr=0.003, epochs=6).run
    assert "nothing_learned" in diagnosed([noise])["noise"]
    learned = fit("learned", kinds, train="all", lr=0.003, epochs=6).run
    assert diagnosed([learned]) == {"learned": {}}


def test_labels_that_are_often_wrong(fit: Fit, kinds: Splits, pretrained: Fitted) -> None:
    """One in six is turned: sure answers contradict them, which they hardly do where labels are right."""
    wrong = mislabelled(kinds, 1 / 6)
    runs = {
        name: fit(name, splits, pretrained.state, train="head", solver="lbfgs").run
        for name, splits in {"wrong": wrong, "right": kinds}.items()
    }
    assert list(diagnosed([runs["wrong"]])["wrong"]) == ["labels_suspect"]
    assert diagnosed([runs["right"]])["right"] == {}
    assert diagnosed([runs["wrong"]])["wrong"]["labels_suspect"].suggestion == {"label_smoothing": 0.1}


def test_failed_strategies_count_for_nothing(fit: Fit, kinds: Splits, pretrained: Fitted) -> None:
    """Neither have they findings beside others, nor others beside them."""
    probe = fit("probe", kinds, pretrained.state, train="head", solver="lbfgs").run
    failed = replace(probe, name="failed", probabilities=None)
    assert diagnosed([probe, failed]) == {"probe": {}, "failed": {}}


def test_runs_on_other_images_are_refused(fit: Fit, kinds: Splits, pretrained: Fitted) -> None:
    """Differences are paired, image by image."""
    probe = fit("probe", kinds, pretrained.state, train="head", solver="lbfgs").run
    with pytest.raises(ValueError, match="same images"):
        diagnose_against([probe, replace(probe, name="other", targets=probe.targets[::-1])], PARAMS)


def test_a_ranking_of_a_single_class(fit: Fit, kinds: Splits, pretrained: Fitted) -> None:
    """A metric that the images leave undefined tells nothing."""
    single = Splits(kinds.train, few(kinds.val, 40, rare=0))
    probe = fit("probe", single, pretrained.state, train="head", solver="lbfgs").run
    full = fit("full", single, pretrained.state, train="all", lr=0.001, epochs=2).run
    assert diagnosed([probe, full]) == {"probe": {}, "full": {}}


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1", "auroc", "average_precision"])
@pytest.mark.parametrize("rare", [300, 30])
def test_chance_is_what_answers_without_knowledge_reach(metric: str, rare: int) -> None:
    """The best of them: always the frequent class, or draws with the classes' frequencies or alike."""
    targets = np.concatenate([np.zeros(300, dtype=np.int64), np.ones(rare, dtype=np.int64)])
    rng = np.random.default_rng(0)

    def mean_of(draws: Sequence[Floats]) -> float:
        return float(np.mean([scores(targets, answers)[metric] for answers in draws]))

    ways = {
        "constant": [np.tile([1.0, 0.0], (len(targets), 1))],
        "drawn": [np.eye(2)[rng.permutation(targets)] for _ in range(15)],
        "alike": [np.eye(2)[rng.integers(0, 2, len(targets))] for _ in range(15)],
        "ranked": [rng.dirichlet([1, 1], len(targets)) for _ in range(15)],
    }
    assert chance_of(metric, targets) == pytest.approx(max(map(mean_of, ways.values())), abs=0.03)
