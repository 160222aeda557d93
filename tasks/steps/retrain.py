"""The end of a retraining: does the challenger take the champion's place?"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from tasks import layout, tracking, versioning
from tasks.comparison.gate import Ruling, judge
from tasks.comparison.schema import Comparison
from tasks.errors import UserError
from tasks.evaluation.drift import Drift, sentences
from tasks.files import read_json, write_json
from tasks.params import Params, load_params
from tasks.record import Record
from tasks.runs.candidates import kept_networks
from tasks.runs.challenge import Contender, Contest, contest
from tasks.runs.metadata import data_identity, shared_params, tags
from tasks.runs.outputs import last_comparison
from tasks.runs.prepared import PreparedData

Outcome = Literal["promoted", "refused", "unchanged"]


class Decision(Record):
    """``data/reports/retrain.json``: what a retraining decided, and why."""

    decision: Outcome
    reason: str
    decided_at: str
    champion_before: str = Field(description="version in MLflow's registry; empty if there was none")
    challenger: str = Field(description="version in MLflow's registry; empty if nothing was learned")
    data_before: str = Field(description="DVC's digest of the images that the champion before was trained on")
    data: str = Field(description="DVC's digest of the images now")
    left_out: int = Field(0, description="test images that the champion before had seen in its training")
    unanswered: int = Field(0, description="test images that one of the two could not read")
    ruling: Ruling | None = Field(None, description="null where there was nothing to hold against each other")
    drift: Drift | None = None
    warnings: list[str] = Field(default_factory=list)
    mlflow_run_id: str = ""

    @property
    def champion(self) -> str:
        """The version that is champion now."""
        return self.challenger if self.decision == "promoted" else self.champion_before

    @property
    def sentence(self) -> str:
        """What was decided, in a sentence."""
        what = {
            "promoted": f"version {self.challenger} is promoted to champion",
            "refused": f"the challenger is refused, {_stays(self.champion_before)}",
            "unchanged": _stays(self.champion_before),
        }[self.decision]
        return f"{what}: {self.reason}"


def strategy_of_champion() -> str:
    """Return the strategy by which the champion was made.

    Raises:
        UserError: there is no champion, or ``params.yaml`` has no such strategy any more.
    """
    from tasks.tracking import registry

    version = registry.version_of(registry.CHAMPION)
    if not version:
        raise UserError("there is no champion whose strategy could be run alone: leave out --only-champion")
    params = load_params(layout.PARAMS)
    candidate = params.candidate(Contender.read(version).champion.facts.strategy)
    params.strategy(candidate)
    return candidate


def decide() -> Decision:
    """Hold the challenger of the last comparison against the champion, and promote it or not; record and track why."""
    from tasks.tracking import registry

    params, comparison = load_params(layout.PARAMS), last_comparison()
    data = PreparedData.read(kept_networks(params)[0])
    before = registry.version_of(registry.CHAMPION)
    waiting = layout.CHALLENGER.is_file()
    challenger = str(read_json(layout.CHALLENGER)["version"]) if waiting and comparison.champion else ""
    run_id = tracking.start_run(
        "retrain", shared_params(params, data), tags("retrain", "", params, data), data_identity(params),
        layout.started("retrain"),
    )  # fmt: skip
    try:
        decided = _decided(params, data, comparison, before, challenger).model_copy(update={"mlflow_run_id": run_id})
        write_json(layout.RETRAIN, decided.model_dump(mode="json"))
        if decided.decision == "promoted":
            registry.promote(challenger)
        if challenger and decided.decision != "unchanged":
            registry.decide(challenger, decided.decision, decided.reason)
        _track(decided, comparison)
        layout.CHALLENGER.unlink(missing_ok=True)
    except BaseException:
        tracking.abandon(run_id)
        raise
    tracking.finish(run_id)
    return decided


def keep(decided: Decision) -> list[str]:
    """Push and commit what a retraining made, where the params ask for it; return what was done.

    Raises:
        UnavailableError: DVC's remote can't be reached.
        UserError: there is no remote, or git refuses.
    """
    params, done = load_params(layout.PARAMS), []
    if params.retrain.push:
        done.append(f"pushed {versioning.push()} files to DVC's remote")
    if params.retrain.commit:
        files = [Path("dvc.lock"), *sorted(layout.RUNS.rglob("metrics.json")), Path(f"{params.data.path}.dvc")]
        message = f"Retrain on {decided.data[:12] or params.data.path}: {decided.sentence}"
        commit = versioning.commit(files, message)
        done.append(f"committed dvc.lock as {commit[:12]}" if commit else "nothing to commit")
    return done


def _decided(params: Params, data: PreparedData, comparison: Comparison, before: str, challenger: str) -> Decision:
    def decision(outcome: Outcome, reason: str, data_before: str = "") -> Decision:
        return Decision(
            decision=outcome, reason=reason, decided_at=_now(), champion_before=before, challenger=challenger,
            data_before=data_before, data=comparison.data.digest,
        )  # fmt: skip

    if not challenger and comparison.champion:
        return decision("unchanged", "nothing was compared since the last decision")
    if not challenger:
        return decision("refused", "no strategy learned anything from these images")
    if not before:
        return decision("promoted", "there was no champion before it")
    if challenger == before:
        return decision("unchanged", "the comparison made the same model again")
    try:
        champion = Contender.read(before)
    except UserError as error:
        return decision("refused", f"the champion can't be answers against it: {error}")
    answers = contest(champion, Contender.read(challenger), data, params.data)
    ruling = judge(answers.answered, params.retrain, params.compare.metric, params.compare.seed)
    made = decision("promoted" if ruling.promote else "refused", ruling.reason, champion.champion.facts.data_digest)
    return made.model_copy(
        update={
            "left_out": answers.left_out,
            "unanswered": answers.unanswered,
            "ruling": ruling,
            "drift": answers.drift,
            "warnings": _warnings(answers, params, is_known=champion.origin.is_known),
        }
    )


def _warnings(answers: Contest, params: Params, *, is_known: bool) -> list[str]:
    warnings = sentences(answers.drift, params.retrain.drift_confidence) if answers.drift else []
    if not is_known:
        warnings.append(
            "it is not recorded which images the champion was trained on: of the test images none could be left out, "
            "and drift was not measured"
        )
    if answers.left_out:
        warnings.append(f"{answers.left_out} test images are left out that the champion had seen in its training")
    if answers.unanswered:
        warnings.append(f"{answers.unanswered} test images could not be read by one of the two")
    return warnings


def _track(decided: Decision, comparison: Comparison) -> None:
    run_id, checks = decided.mlflow_run_id, decided.ruling.checks if decided.ruling else []
    metrics: dict[str, float | None] = {"gate/images": decided.ruling.images} if decided.ruling else {}
    for check in checks:
        if check.kind not in {"class", "part"}:  # whose names MLflow may not take; the file has them
            metrics |= {
                f"gate/champion_{check.name}": check.champion,
                f"gate/challenger_{check.name}": check.challenger,
            }
    if decided.drift:
        metrics |= {f"drift/{key}": value for key, value in decided.drift.model_dump().items()}
    tracking.log_metrics(run_id, metrics)
    described = {
        "thawline.decision": decided.decision,
        "thawline.comparison": comparison.mlflow_run_id,
        "thawline.champion_version": decided.champion,
        "thawline.challenger_version": decided.challenger,
        "mlflow.note.content": " ".join(
            f"{text[0].upper()}{text[1:]}." for text in (decided.sentence, *decided.warnings)
        ),
    }
    tracking.set_tags(run_id, {key: value for key, value in described.items() if value})
    tracking.log_files(run_id, [layout.RETRAIN])


def _stays(version: str) -> str:
    return f"the champion stays version {version}" if version else "there is no champion"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
