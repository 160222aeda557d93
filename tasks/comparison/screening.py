"""Which of several networks are fine-tuned: those that a probe of their features, or their past, speaks for.

Neither alone chooses well: the best by a linear probe and the best by the accuracy on ImageNet together miss the best
network least often (Renggli et al., Which Model to Transfer?, CVPR 2022).
"""

from collections.abc import Sequence

from pydantic import Field

from tasks.params import ScreenParams
from tasks.record import Record


class Screened(Record):
    """What is known of a network before anything is fine-tuned from it."""

    network: str = Field(description="its name for people")
    name: str = Field(description="its architecture, as in backbone.name")
    weights: str = Field(description="that it has")
    licence: str = Field(description="of the weights")
    parts: tuple[str, ...] = Field((), description="from the image to the logits, as strategies name them")
    parameters: int = Field(0, description="number of its weights, with a head for these classes")
    milliseconds: float | None = Field(None, description="an image, in batches, on the machine that screened")
    accuracy: float | None = Field(None, description="published, on ImageNet-1k; null: not known")
    last_stage: float | None = Field(None, description="balanced accuracy of a linear probe on what the head is given")
    all_stages: float | None = Field(None, description="the same on the pooled answers of all stages together")
    deviation: float | None = Field(None, description="of the latter, over the folds")
    logme: float | None = Field(None, description="log evidence of a linear model on what the head is given, an image")
    kept: bool = Field(False, description="whether strategies are fine-tuned from it")
    why: str = Field("", description="that it is kept, or left out")

    @property
    def probed(self) -> float:
        """What the probes speak for: the better of both."""
        return max(self.last_stage or 0.0, self.all_stages or 0.0)


class Screening(Record):
    """``data/screening.json``: the networks that were looked at; none where there is one alone."""

    networks: list[Screened] = Field(default=[], description="in the order of the params")

    @property
    def kept(self) -> list[Screened]:
        """Those that strategies are fine-tuned from."""
        return [screened for screened in self.networks if screened.kept]

    def lines(self) -> list[str]:
        """Return the networks as text, a line each."""
        width = max((len(screened.network) for screened in self.networks), default=0)
        return [f"{screened.network:<{width}}  {_figures(screened)}{screened.why}" for screened in self.networks]


def choose(networks: Sequence[Screened], params: ScreenParams) -> list[Screened]:
    """Return the same networks with whether each is kept, and why.

    Within the limits the probe's best and the best by its past are taken in turns, the probe's best first, as many as
    are to be kept. Where the past of none is known, the probe alone decides.
    """
    eligible = [screened for screened in networks if screened.last_stage is not None and not _over(screened, params)]
    by_probe = sorted(eligible, key=lambda screened: -screened.probed)
    known = [screened for screened in eligible if screened.accuracy is not None]
    by_past = sorted(known, key=lambda screened: -(screened.accuracy or 0.0))
    reasons: dict[str, str] = {}
    turns = [(by_probe, "by the linear probe"), (by_past, "by its accuracy on ImageNet")]
    while len(reasons) < min(params.keep, len(eligible)):
        for order, words in turns:
            left = [screened for screened in order if screened.network not in reasons]
            if left and len(reasons) < params.keep:
                place = order.index(left[0]) + 1
                reasons[left[0].network] = f"kept: number {place} {words}"
    return [
        screened.model_copy(
            update={
                "kept": screened.network in reasons,
                "why": reasons.get(screened.network) or screened.why or _over(screened, params) or _behind(reasons),
            }
        )
        for screened in networks
    ]


def _over(screened: Screened, params: ScreenParams) -> str:
    """Return the limit that a network breaks, in words; empty: none."""
    if params.max_parameters is not None and screened.parameters > params.max_parameters:
        return f"left out: {screened.parameters:,} parameters, over screen.max_parameters {params.max_parameters:,}"
    taken, most = screened.milliseconds or 0.0, params.max_milliseconds
    if most is not None and taken > most:
        return f"left out: {taken:.1f} ms an image, over screen.max_milliseconds {most:g}"
    return ""


def _behind(reasons: dict[str, str]) -> str:
    return f"left out: behind {' and '.join(reasons)} (screen.keep)"


def _figures(screened: Screened) -> str:
    if screened.last_stage is None:
        return ""
    past = f"ImageNet {screened.accuracy:.3f}, " if screened.accuracy is not None else ""
    return (
        f"probe {screened.last_stage:.3f} (all stages {screened.all_stages or 0.0:.3f}), {past}"
        f"{screened.milliseconds:.1f} ms an image, {screened.parameters:,} parameters; "
    )
