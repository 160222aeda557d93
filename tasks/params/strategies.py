"""The section ``strategies``: the ways of fine-tuning that are held against each other."""

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from tasks.params.layers import AdaptersParams, HeadParams, StemParams
from tasks.params.section import Section
from tasks.params.train import Solver, TrainParams
from tasks.params.values import Rates, Selectors, Share, Shares

Start = Literal["pretrained", "random"]

Epochs = Annotated[str, Field(pattern=r"^\d+$")]


def as_milestones(value: Any) -> Any:
    """Accept epochs as numbers or as text; the first thing to train does so from the start."""
    if not isinstance(value, dict):
        return value
    epochs = [str(key) for key in value]
    if not all(epoch.isdecimal() for epoch in epochs):
        raise ValueError("milestones are numbers of epochs, each with what starts to train after so many")
    if "0" not in epochs:
        raise ValueError("milestones need an entry for 0: what trains from the start")
    return {str(key): selectors for key, selectors in value.items()}


class PhaseParams(Section):
    """Some epochs in which the same parts train at the same peak rate; unset values are the strategy's.

    Example:
        strategies:
          head_then_all:
            phases:
              - {train: head, epochs: 2}
              - {train: all, lr: 0.0001, epochs: 5}
    """

    train: Selectors
    """What trains, as in a strategy."""

    epochs: int | None = Field(None, ge=1)
    """Epochs of the phase."""

    lr: Rates | None = None
    """Peak learning rate of the phase, as in ``train``."""

    solver: Solver | None = None
    """How a phase of the head alone trains, as in ``train``."""

    continues: bool = False
    """The rate goes on with the schedule of the phase before, instead of warming up again."""


class StrategyParams(TrainParams):
    """One way of fine-tuning: the shared settings, what is replaced, what trains, in which order and how fast.

    Example:
        strategies:
          middle:
            train: ["stages[1:3]", head]
            lr: 0.0003
            epochs: 8
    """

    start: Start = "pretrained"
    """Whether training starts from the ``pretrained`` weights or from ``random`` ones."""

    head: HeadParams = HeadParams()
    """What replaces the classifier."""

    stem: StemParams = StemParams()
    """How the first layer takes another number of channels than three."""

    cut: int = Field(0, ge=0)
    """Number of stages to take away at the end; a new head follows."""

    insert: int = Field(0, ge=0, le=8)
    """Number of new stages to put in before the head, which train in every phase: residual bottlenecks (He et al., CVPR
    2016), which together have no more parameters than what is kept of the network; transformer blocks where the
    features are tokens."""

    groups: dict[str, Selectors] | None = Field(None, min_length=1)
    """Regular expressions for whole names of parameters and buffers, a list a group, instead of the network's own
    parts; every name must match those of exactly one group."""

    train: Selectors | None = None
    """What trains, one of these or several: ``all``, ``stem``, ``stages``, ``head``, the name of a part or group, such
    as ``stage3``, or a slice of the stages in Python's notation, such as ``stages[3:]`` or ``stages[-1]``."""

    gradual: int | None = Field(None, ge=1)
    """Thaw one part of ``train`` after the other from the top, this many epochs apart (Howard and Ruder, ACL 2018)."""

    milestones: Annotated[
        dict[str, Selectors] | None,
        BeforeValidator(as_milestones, json_schema_input_type=dict[Epochs, Selectors] | None),
    ] = None
    """Instead of ``train``: what starts to train after how many epochs, such as ``{0: head, 2: all}``."""

    phases: tuple[PhaseParams, ...] = ()
    """Instead of ``train``: several phases one after the other."""

    only: Literal["all", "norms", "biases"] = "all"
    """``norms`` or ``biases``: train only these of the parts that train, and the head."""

    adapters: AdaptersParams | None = None
    """Train adapters instead of the weights of the parts that train, and the head."""

    layer_decay: float | None = Field(None, gt=0, le=1)
    """A part's rate is this share of the rate of the part above it (Clark et al., ELECTRA, 2020)."""

    auto_rgn: bool = False
    """Scale the parts' rates by their relative gradient norms before training (Lee et al., ICLR 2023)."""

    l2_sp: float = Field(0.0, ge=0)
    """Strength of the pull of pretrained weights towards their start (Li et al., ICML 2018); takes the place of their
    weight decay."""

    ema: Share | None = None
    """Keep the exponential moving average of the weights, with this decay a step (Polyak and Juditsky, 1992)."""

    start_size: int | None = Field(None, ge=16)
    """Side in pixels of the images that the first epochs see; it grows to ``size`` over three fifths of the epochs
    (progressive resolution; Tan and Le, ICML 2021). Epochs from a thaw line on see no images, and start with
    ``size``."""

    soup: int = Field(1, ge=1, le=32)
    """Fine-tune this often, in different orders, and average greedily (Wortsman et al., ICML 2022)."""

    wise_ft: Shares | None = None
    """After training, mix in the weights from before the last phase: this share of the fine-tuned, or the best of
    several by the validation loss (Wortsman et al., CVPR 2022)."""

    @model_validator(mode="after")
    def _says_what_trains(self) -> "StrategyParams":
        if sum((self.train is not None, self.milestones is not None, bool(self.phases))) != 1:
            raise ValueError("says what trains with one of 'train', 'milestones' and 'phases'")
        if self.gradual and self.train is None:
            raise ValueError("'gradual' thaws what 'train' names")
        return self

    @model_validator(mode="after")
    def _combines_what_goes_together(self) -> "StrategyParams":
        if self.adapters and (self.only != "all" or self.groups):
            raise ValueError("'adapters' does not go with 'only' or 'groups'")
        if self.adapters and (self.soup > 1 or self.wise_ft):
            raise ValueError("'adapters' does not go with 'soup' or 'wise_ft', which average weights")
        if self.only != "all" and self.groups:
            raise ValueError("'only' does not go with 'groups': name the patterns themselves")
        if self.head.kind == "on_top" and (self.cut or self.insert):
            raise ValueError("'head: on_top' keeps the old classifier, which 'cut' and 'insert' take away")
        if self.frozen_precision == "bfloat16" and self.precision == "float32":
            raise ValueError("'frozen_precision: bfloat16' does not go with 'precision: float32'")
        return self

    @model_validator(mode="after")
    def _reaches_every_milestone(self) -> "StrategyParams":
        last = max((int(after) for after in self.milestones or ()), default=0)
        if last >= self.epochs:
            raise ValueError(f"the milestone after {last} epochs is never reached in {self.epochs} ('epochs')")
        return self

    @model_validator(mode="after")
    def _divides_batches(self) -> "StrategyParams":
        if self.micro_batch and self.micro_batch > self.batch_size:
            raise ValueError(f"'micro_batch' ({self.micro_batch}) is a part of 'batch_size' ({self.batch_size})")
        if self.processes > (self.micro_batch or self.batch_size):
            divided = "micro_batch" if self.micro_batch else "batch_size"
            raise ValueError(f"'processes' ({self.processes}) divide '{divided}', which has fewer images")
        return self

    @model_validator(mode="after")
    def _solves_linear_heads(self) -> "StrategyParams":
        solved = [phase for phase in self.phases if (phase.solver or self.solver) == "lbfgs"]
        if solved or (self.solver == "lbfgs" and not self.phases):
            self._check_solved(solved)
        return self

    def _check_solved(self, solved: list[PhaseParams]) -> None:
        if any(phase.epochs for phase in solved):
            raise ValueError("a phase with 'solver: lbfgs' is solved in one go and has no 'epochs'")
        if self.head.kind != "linear" or self.head.dropout:
            raise ValueError("'solver: lbfgs' solves a linear head without dropout: leave 'head' out")
        if self.sampling == "balanced":
            raise ValueError(
                "'solver: lbfgs' draws no images, balanced or not: write 'class_weights: true' for the same end"
            )
        if any(later.continues for phase, later in pairwise(self.phases) if phase in solved):
            raise ValueError(
                "after a phase with 'solver: lbfgs' there is no schedule to continue: leave 'continues' out"
            )
        trained = {selector for phase in solved for selector in phase.train} or set(self.train or ())
        if trained != {"head"} or self.insert or self.adapters or self.only != "all" or self.groups:
            raise ValueError("'solver: lbfgs' is for phases in which the head alone trains: write 'train: head'")

    @model_validator(mode="after")
    def _corrects_class_frequencies_once(self) -> "StrategyParams":
        corrections = {
            "class_weights: true": self.class_weights,
            "sampling: balanced": self.sampling == "balanced",
            "logit_adjustment": self.logit_adjustment > 0,
        }
        chosen = [f"'{name}'" for name, is_on in corrections.items() if is_on]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} correct for the same class frequencies: keep one of them")
        return self

    @property
    def treats_classes_alike(self) -> bool:
        """Whether a rare class is to count as much as a frequent one."""
        return self.class_weights or self.sampling == "balanced" or self.logit_adjustment > 0

    @property
    def updates_statistics(self) -> bool:
        """Whether BatchNorm layers that train update their statistics."""
        return self.batchnorm == "train"

    def schedule(self) -> tuple[PhaseParams, ...]:
        """Return the phases with every value filled in; ``gradual`` is left to the network's plan."""
        if self.milestones:
            return self._between_milestones()
        phases = self.phases or (PhaseParams(train=self.train or ("all",)),)
        return tuple(self._filled_in(phase) for phase in phases)

    def _filled_in(self, phase: PhaseParams) -> PhaseParams:
        solver = phase.solver or self.solver
        epochs = 1 if solver == "lbfgs" else phase.epochs or self.epochs
        rate = self.lr if phase.lr is None else phase.lr
        return phase.model_copy(update={"solver": solver, "epochs": epochs, "lr": rate})

    def _between_milestones(self) -> tuple[PhaseParams, ...]:
        starts = sorted((int(after), selectors) for after, selectors in (self.milestones or {}).items())
        ends = [*(after for after, _ in starts[1:]), self.epochs]
        phases: list[PhaseParams] = []
        trains: tuple[str, ...] = ()
        for (after, selectors), until in zip(starts, ends, strict=True):
            trains += selectors
            phases.append(PhaseParams(train=trains, epochs=until - after, lr=self.lr, continues=bool(phases)))
        return tuple(phases)
