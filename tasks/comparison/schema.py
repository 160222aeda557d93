"""``comparison.json``: what programs read of a comparison. ``python -m tasks schema`` prints its JSON Schema."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

VERSION = 1


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Scores(_Record):
    """Metrics on one split; a metric that the split leaves undefined is null."""

    accuracy: float | None
    balanced_accuracy: float | None = Field(description="mean recall of the classes")
    macro_f1: float | None
    auroc: float | None = Field(description="mean over the classes, each against the rest")
    average_precision: float | None = Field(description="mean over the classes, each against the rest")
    ece: float | None = Field(description="expected calibration error, 15 bins of equal width")
    log_loss: float | None
    images: int
    intervals: dict[str, tuple[float, float] | None] = Field(description="bootstrap interval of each metric")
    per_class: dict[str, dict[str, float]] = Field(description="precision, recall, f1 and number of images a class")
    confusion: list[list[int]] = Field(description="rows: true class, columns: predicted, as in classes")
    groups: dict[str, dict[str, float | None]] = Field(description="the same metrics a group of images")


class Versus(_Record):
    """A strategy's validation metric less that of the best one, on the same resamples."""

    difference: float
    low: float
    high: float
    standard_error: float
    p_value: float


class Part(_Record):
    """A part of the network, when it trains and how fast."""

    name: str
    parameters: int
    thaws_at: int | None = Field(description="first epoch in which it trains; null if it stays frozen")
    rates: list[float | None] = Field(
        description="peak rate in each phase; null where it is frozen, 0 where it is solved"
    )


class StrategyResult(_Record):
    """One strategy: what it was, what it reached, what it cost."""

    name: str
    rank: int = Field(description="1 is the best on the validation split")
    params: dict[str, Any] = Field(description="its settings, shared ones included")
    val: Scores
    test: Scores
    versus_best: Versus
    tied: bool = Field(description="within one standard error of the best on the validation split")
    train_seconds: float
    peak_memory_mib: float
    trainable_parameters: int
    parameters: int
    parts: list[Part] = Field(description="from the image to the logits")
    phases: list[int] = Field(description="epochs of each phase of the plan")
    chosen: dict[str, Any] = Field(description="what the strategy chose on the validation split")
    epochs: int = Field(description="epochs that were trained")
    best_epoch: int = Field(description="epoch (from 0) whose weights were kept")
    history: list[dict[str, float]]
    mlflow_run_id: str


class DataFacts(_Record):
    """The images that were compared on."""

    source: str
    path: str
    digest: str = Field(description="DVC's digest of the images")
    classes: list[str]
    channels: int
    size: int
    images: dict[str, int] = Field(description="number of images a split")
    unusable: int = Field(description="files left out, listed in data/quarantine.parquet")


class Comparison(_Record):
    """Everything that a comparison found."""

    schema_version: int = VERSION
    champion: str
    verdict: str
    metric: str = Field(description="the validation metric that orders the strategies")
    confidence: float = Field(description="of every interval")
    test_read_at: str = Field(description="when the test split was read, ISO 8601")
    data: DataFacts
    backbone: dict[str, Any]
    mlflow_run_id: str = Field(description="the parent run")
    mlflow_experiment_id: str
    strategies: dict[str, StrategyResult] = Field(description="by name, best first")
