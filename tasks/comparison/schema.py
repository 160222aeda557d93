"""``comparison.json``: what programs read of a comparison. ``python -m tasks schema`` prints its JSON Schema."""

from typing import Any

from pydantic import Field

from tasks.comparison.racing import margin
from tasks.comparison.recommendation import Recommendation
from tasks.comparison.screening import Screening
from tasks.comparison.statistics import Paired
from tasks.evaluation.robustness import Robustness, WorstGroup
from tasks.record import Record

VERSION = 5


class Scores(Record):
    """Metrics on one split; a metric that the split leaves undefined is null."""

    accuracy: float | None = Field(description="share of the images whose most probable class is the true one")
    balanced_accuracy: float | None = Field(description="mean recall of the classes")
    macro_f1: float | None = Field(description="mean F1 of the classes")
    auroc: float | None = Field(description="mean over the classes, each against the rest")
    average_precision: float | None = Field(description="mean over the classes, each against the rest")
    ece: float | None = Field(description="expected calibration error, 15 bins of equal width")
    log_loss: float | None = Field(description="mean negative logarithm of the true class's probability")
    images: int = Field(description="number of images")
    intervals: dict[str, tuple[float, float] | None] = Field(description="bootstrap interval of each metric")
    per_class: dict[str, dict[str, float]] = Field(description="precision, recall, f1 and number of images a class")
    confusion: list[list[int]] = Field(description="rows: true class, columns: predicted, as in classes")
    groups: dict[str, dict[str, float | None]] = Field(description="the same metrics a group of images")

    def figures(self) -> dict[str, float | None]:
        """Return the metrics by name."""
        return {
            name: getattr(self, name)
            for name, value in type(self).model_fields.items()
            if value.annotation == float | None
        }


class Spread(Record):
    """A metric of several seeds."""

    values: list[float | None] = Field(description="of each seed")
    mean: float | None = Field(description="over the seeds")
    std: float | None = Field(description="between the seeds, n - 1 in the denominator")
    interval: tuple[float, float] | None = Field(description="of the mean, over images and seeds")


class OverSeeds(Record):
    """What a strategy reaches with several seeds; ``val`` and ``test`` of the strategy are those of the first."""

    seeds: list[int] = Field(description="in the order of the values below")
    val: dict[str, Spread] = Field(description="by metric")
    test: dict[str, Spread] = Field(description="by metric")
    train_seconds: list[float] = Field(description="of each seed")
    mlflow_run_ids: list[str] = Field(description="of each seed")


class OnShare(Record):
    """What a strategy reaches on validation with a share of the training split."""

    share: float = Field(description="of the training split")
    images: int = Field(description="that it was trained on")
    val: dict[str, float | None] = Field(description="metrics by name")
    train_seconds: float = Field(description="of training, without what surrounds it")
    mlflow_run_id: str = Field(description="the run of this training")


class Versus(Paired):
    """A strategy's validation metric (the mean over seeds) less that of the best one, on the same resamples."""

    p_adjusted: float = Field(description="the same, adjusted for the number of strategies (Holm)")
    mcnemar: float = Field(description="exact p-value of equally many errors (McNemar), adjusted likewise")


class Part(Record):
    """A part of the network, when it trains and how fast."""

    name: str = Field(description="as strategies name it: stem, stage1, …, head")
    parameters: int = Field(description="number of its weights")
    thaws_at: int | None = Field(description="first epoch in which it trains; null if it stays frozen")
    rates: list[float | None] = Field(
        description="peak rate in each phase; null where it is frozen, 0 where it is solved"
    )


class Calibration(Record):
    """What the test split's probabilities are worth once they are divided by a temperature."""

    temperature: float = Field(description="fitted on the validation split (Guo et al., ICML 2017); 1 changes nothing")
    test_ece: float = Field(description="expected calibration error on the test split, once divided")
    test_log_loss: float = Field(description="log loss on the test split, once divided")


class Serving(Record):
    """What an answer costs, on the machine and in the precision of the comparison."""

    model_bytes: int = Field(description="of the weights")
    milliseconds: float = Field(description="for one image at a time, median")
    images_a_second: float = Field(description="in batches, median")


class Stopped(Record):
    """Where and why the race stopped a strategy; one without ``at_least`` was short of time, and may still win."""

    reason: str = Field(description="in words")
    images: int | None = Field(None, description="training images that it had seen, summed over its epochs")
    of_images: int | None = Field(None, description="that its whole plan would have shown it")
    metric: str | None = Field(None, description="what was compared, on the validation split")
    score: float | None = Field(None, description="its metric there")
    against: str | None = Field(None, description="the strategy that was ahead")
    leader: float | None = Field(None, description="the metric of that one")
    difference: float | None = Field(None, description="that one's metric less its own, on the same images")
    standard_error: float | None = Field(None, description="of the difference")
    reach: float | None = Field(None, description="the best that it could still have come to: an upper bound")
    to_win: float | None = Field(None, description="the metric that it would have had to come to")
    at_least: float | None = Field(
        None, description="how far it would have stayed behind, at least; below 0: how far ahead it might have come"
    )

    @property
    def at(self) -> str:
        """Where it stopped, in words."""
        if self.images is None:
            return "before its end"
        return f"after {self.images:,}" + (f" of {self.of_images:,} images" if self.of_images else " images")

    @property
    def margin(self) -> str:
        """How far it stays behind, in words; empty if that is not why it stopped."""
        return "" if self.at_least is None else margin(self.at_least)

    @property
    def may_tie(self) -> bool:
        """Whether it might have come to within one standard error of the strategy that was ahead."""
        return self.at_least is not None and self.at_least <= (self.standard_error or 0.0)

    @property
    def words(self) -> str:
        """Where it stopped and what for: ``after 1,180 of 7,870 images, at least 0.170 behind head_only``."""
        if self.at_least is None:
            return f"{self.at}: {self.reason}"
        return f"{self.at}, {margin(self.at_least, self.against or '')}"


class Finding(Record):
    """Something that went wrong in a strategy's run."""

    tag: str = Field(description="what it is, in a word or two")
    evidence: str = Field(description="a sentence with the figures that it was read from")
    epoch: int | None = Field(description="from 0, when it shows; null where it is no matter of epochs")
    configuration: str | None = Field(description="what to try next, as YAML for params.yaml; null if nothing helps")


class SuspectLabel(Record):
    """A validation image whose label the champion doubts (Northcutt et al., JAIR 2021)."""

    path: str = Field(description="of the image, relative to the folder that was read")
    label: str = Field(description="that it has")
    suggested: str = Field(description="the class that the champion's answers speak for")
    probability: float = Field(description="of the suggested class")


class StrategyResult(Record):
    """One strategy: what it was, what it reached, what it cost."""

    name: str = Field(description="its key in params.yaml, behind that of its network where several compete")
    rank: int = Field(description="1 is the best on the validation split; excluded ones come last, then stopped ones")
    params: dict[str, Any] = Field(description="its settings, shared ones included")
    stopped: Stopped | None = Field(None, description="by the race; null: it ran to its end")
    val: Scores = Field(description="scores on the validation split; of one that lost the race, where it stopped")
    test: Scores | None = Field(description="scores on the test split; null: it lost the race, and was not tested")
    calibration: Calibration | None = Field(description="null where nothing was tested")
    robustness: Robustness | None = Field(description="null where it was not asked for, or where it could not win")
    worst_group: WorstGroup | None = Field(description="null without groups of a size that says something")
    over_seeds: OverSeeds | None = Field(description="null with a single seed")
    by_share: list[OnShare] = Field(description="learning curve by the number of images; empty if it wasn't asked for")
    versus_best: Versus | None = Field(
        description="beside the best on the validation split; null where ``stopped`` says by how much it is behind"
    )
    excluded: list[str] = Field(description="limits of compare that it breaks; a champion breaks none")
    tied: bool = Field(description="within one standard error of the best on the validation split, and not excluded")
    serving: Serving | None = Field(description="null where it could not win")
    efficient: bool = Field(
        description="no other scores as high on validation with no more milliseconds an image, seconds, memory and "
        "trainable parameters"
    )
    train_seconds: float = Field(description="of training, without what surrounds it")
    peak_memory_mib: float = Field(
        description="most memory that the process, or the GPU, held while it trained, in MiB"
    )
    network: str = Field("", description="that it was fine-tuned from")
    milliseconds: float | None = Field(
        None, description="in which that one answers an image, as it was screened; null where no other competes"
    )
    trainable_parameters: int = Field(description="number of weights that train at any time")
    parameters: int = Field(description="number of all weights")
    parts: list[Part] = Field(description="from the image to the logits")
    phases: list[int] = Field(description="epochs of each phase of the plan")
    chosen: dict[str, Any] = Field(description="what the strategy chose on the validation split")
    epochs: int = Field(description="epochs that were trained")
    best_epoch: int = Field(description="epoch (from 0) whose weights were kept")
    epochs_to_scratch: int | None = Field(
        description="epochs after which it had scratch's best validation accuracy; null: never, or there is no scratch"
    )
    seconds_to_scratch: float | None = Field(description="the same in seconds, as that share of the training time")
    findings: list[Finding] = Field(default=[], description="what went wrong, and what to try next")
    history: list[dict[str, float]] = Field(description="a row an epoch: losses, validation accuracy, learning rate")
    mlflow_run_id: str = Field(description="its run")
    recorded_run_id: str = Field(
        "", description="the run of the training; another one where that had to be logged anew"
    )

    @property
    def lost_race(self) -> bool:
        """Whether the race stopped it because it could not win any more, so that it was not tested."""
        return self.test is None

    @property
    def tested(self) -> Scores:
        """The scores on the test split.

        Raises:
            ValueError: it lost the race.
        """
        if self.test is None:
            raise ValueError(f"{self.name} lost the race, and was not tested")
        return self.test

    @property
    def calibrated(self) -> Calibration:
        """What its probabilities are worth.

        Raises:
            ValueError: it lost the race.
        """
        if self.calibration is None:
            raise ValueError(f"{self.name} lost the race, and was not tested")
        return self.calibration

    def cost(self, name: str) -> float:
        """Return one of the costs that ``compare.cheaper`` names."""
        return float(getattr(self, name) or 0.0)

    def figure(self, split: str, metric: str) -> tuple[float | None, tuple[float, float] | None]:
        """Return a metric of ``val`` or ``test`` and its interval: of the mean over seeds, if there are several.

        Neither is known where nothing was tested.
        """
        if self.over_seeds:
            spread: Spread = getattr(self.over_seeds, split)[metric]
            return spread.mean, spread.interval
        scores: Scores | None = getattr(self, split)
        return (getattr(scores, metric), scores.intervals[metric]) if scores else (None, None)


class DataFacts(Record):
    """The images that were compared on."""

    source: str = Field(description="data.source of params.yaml")
    path: str = Field(description="data.path of params.yaml")
    digest: str = Field(description="DVC's digest of the images")
    classes: list[str] = Field(description="names, in the order of the network's answers")
    channels: int = Field(description="of every image in the network")
    size: int = Field(description="working height and width in pixels")
    images: dict[str, int] = Field(description="number of images a split; with folds, as the first is validated on")
    folds: int = Field(0, description="that every strategy was validated on, one after the other; 0: on one split")
    unusable: int = Field(description="files left out, listed in data/quarantine.parquet")


class Chance(Record):
    """What the best strategy would score on the validation split if the labels meant nothing."""

    high: float = Field(description="upper bound of the best score under permuted labels, at the confidence")
    p_value: float = Field(description="of the best score, if nothing was learned; all strategies taken into account")


class Advised(Record):
    """What was recommended before training, and what following it would have cost."""

    recommendation: Recommendation
    regret: float = Field(
        description="best validation score less that of the strategy recommended first; at least so much, if it was "
        "stopped"
    )
    regret_of_three: float = Field(description="the same for the best of the first three")


class Racing(Record):
    """What the race did to the strategies."""

    raced: bool = Field(description="whether they raced; if not, each ran to its end")
    budget: float | None = Field(description="seconds of training that the race had; null: no limit")
    stopped: dict[str, Stopped] = Field(description="strategies that were stopped, by name")
    saved: float | None = Field(
        description="share of the training time that it saved, if every image takes as long; null without a race"
    )


class MadeWith(Record):
    """What a comparison was made with: all that it takes to make it again, besides the images and the weights."""

    commit: str = Field(description="of the code, with '-dirty' where files differed; empty outside a git repository")
    code_sha256: str = Field(description="digest of the code in tasks/")
    params_digest: str = Field(description="digest of all params, defaults included")
    params: str = Field(description="params.yaml as it was")
    python: str = Field(description="version of Python")
    machine: str = Field(description="operating system, processor architecture, threads, and the GPU if there is one")
    packages: dict[str, str] = Field(description="version by name")


class Comparison(Record):
    """Everything that a comparison found."""

    schema_version: int = Field(VERSION, description="of this form; it grows when a field changes its meaning or goes")
    champion: str | None = Field(description="null if no strategy learned anything")
    chance: Chance
    advised: Advised
    racing: Racing
    verdict: str = Field(description="who won and by how much, as the report says it")
    metric: str = Field(description="the validation metric that orders the strategies")
    confidence: float = Field(description="of every interval")
    test_read_at: str = Field(description="when the test split was read, ISO 8601")
    data: DataFacts
    backbone: dict[str, Any] = Field(
        description="the record of the pretrained weights: network, source, SHA-256, normalisation"
    )
    screening: Screening = Field(Screening(), description="of the networks that competed; none where one was alone")
    made_with: MadeWith
    mlflow_run_id: str = Field(description="the parent run")
    mlflow_experiment_id: str = Field(description="the experiment of all its runs")
    suspect_labels: list[SuspectLabel] = Field(default=[], description="the least likely label first")
    strategies: dict[str, StrategyResult] = Field(description="by name, best first")

    @property
    def leader(self) -> StrategyResult:
        """The champion, or without one the strategy with the best validation score."""
        return self.strategies[self.champion or next(iter(self.strategies))]
