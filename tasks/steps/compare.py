"""The strategies held against each other: the only step that reads the test split."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from tasks import layout, tracking, versioning
from tasks.comparison import ranking, report, verdict
from tasks.comparison.entrants import Entrant
from tasks.comparison.findings import findings, suspect_labels
from tasks.comparison.recommendation import recommend
from tasks.comparison.schema import Advised, Chance, Comparison, DataFacts, Racing, StrategyResult
from tasks.comparison.screening import Screening
from tasks.data import manifest, splits
from tasks.evaluation import predictions
from tasks.evaluation.saliency import Map, saliency
from tasks.files import write_bytes
from tasks.params import Params, StrategyParams, load_params
from tasks.progress import plain_console
from tasks.runs import relogging, unlabelled
from tasks.runs.candidates import competing, kept_networks, parts_of_candidates, read_screening
from tasks.runs.comparison_logging import log_comparison
from tasks.runs.entrants import entrant_of, lost_race, measure
from tasks.runs.metadata import data_identity, made_with, shared_params, tags
from tasks.runs.networks import with_weights
from tasks.runs.outputs import read_probe, read_quality
from tasks.runs.prepared import PreparedData
from tasks.runs.registration import CHAMPION_FILES, register_champion
from tasks.training import device


@dataclass(frozen=True)
class Standings:
    """The strategies in their order, and what is said of all of them together."""

    results: list[StrategyResult]
    chance: Chance
    advised: Advised
    racing: Racing


def compare(*, only: str = "", promote: bool = True) -> Comparison:
    """Read the test split, order the strategies, and write the verdict, the report and their MLflow run.

    Args:
        only: a strategy, which is then the only one that is looked at.
        promote: register the winner as the champion; otherwise as the challenger, which leaves the champion be.
    """
    params = load_params(layout.PARAMS)
    candidates = [only] if only else list(competing(params))
    data = PreparedData.read(layout.network_of(candidates[0]))
    without_label = unlabelled.waiting(params.data)
    read_at = datetime.now(UTC).isoformat(timespec="seconds")
    entrants = _entrants(candidates, params, data, relogging.runs_of(candidates, params, data))
    standings = _rank(entrants, params, data)
    run_id = tracking.start_run(
        "comparison", _params_of_all(params, data), tags("comparison", "", params, data), data_identity(params),
        layout.started("compare"),
    )  # fmt: skip
    try:
        comparison = _comparison(standings, entrants, params, data, read_at, run_id)
        log_comparison(comparison, _write(comparison, entrants, params, data))
        if comparison.champion:
            plain_console().print(f"compare: {comparison.champion} becomes the champion")
            version = register_champion(comparison, params, data, promote=promote)
            tracking.set_tags(run_id, {f"thawline.{'champion' if promote else 'challenger'}_version": version})
        unlabelled.score_unlabelled(without_label, CHAMPION_FILES if comparison.champion else None, data.classes)
        if without_label.names:
            tracking.log_files(run_id, [layout.UNLABELLED_SCORES])
    except BaseException:
        tracking.abandon(run_id)
        raise
    tracking.finish(run_id)
    return comparison


def _params_of_all(params: Params, data: PreparedData) -> dict[str, Any]:
    """Return the params that MLflow is told of the comparison itself: of several networks all the kept ones."""
    networks = kept_networks(params)
    several = {"backbone.name": ", ".join(data.on(network).record.name for network in networks)}
    return shared_params(params, data) | (several if len(networks) > 1 else {})


def _entrants(candidates: Sequence[str], params: Params, data: PreparedData, runs: Mapping[str, str]) -> list[Entrant]:
    """Return all candidates; the test split is answered by those that did not lose the race, or if all did, by all."""
    losers = {name for name in candidates if lost_race(name)}
    untested = losers if len(losers) < len(candidates) else set()
    return [entrant_of(name, params, data, runs, tested=name not in untested) for name in candidates]


def _rank(entrants: Sequence[Entrant], params: Params, data: PreparedData) -> Standings:
    """Order the strategies, and add to each what was found out of its training.

    Where nothing was learned there is no champion, and nothing is measured for one.
    """
    say = plain_console().print
    say("compare: what would be scored by chance")
    chance = ranking.chance(entrants, data.classes, params.compare)
    say("compare: resamples of the validation and test images")
    results = ranking.rank(
        entrants,
        data.classes,
        params.compare,
        (lambda name: measure(name, params, data)) if verdict.learned(chance, params.compare.confidence) else None,
    )
    say("compare: what went wrong in each training")
    counts = {str(label): int(count) for label, count in data.rows("train")["label"].value_counts().items()}
    found_out = findings(entrants, params, data.classes, counts)
    results = [result.model_copy(update={"findings": found_out[result.name]}) for result in results]
    advice = recommend(read_probe().facts, _settings_of(entrants, params), parts_of_candidates(params))
    return Standings(
        results,
        chance,
        ranking.advised(advice, results, params.compare.metric),
        ranking.racing(entrants, params),
    )


def _comparison(
    standings: Standings, entrants: Sequence[Entrant], params: Params, data: PreparedData, read_at: str, run_id: str
) -> Comparison:
    results, confidence = standings.results, params.compare.confidence
    cheaper = params.compare.cheaper
    winner = verdict.champion(results, standings.chance, confidence, cheaper)
    comparison = Comparison(
        champion=winner.name if winner else None,
        chance=standings.chance,
        advised=standings.advised,
        racing=standings.racing,
        verdict=verdict.paragraph(results, standings.chance, params.compare.metric, confidence, data.folds, cheaper),
        metric=params.compare.metric,
        confidence=confidence,
        test_read_at=read_at,
        data=_data_facts(params, data),
        backbone=asdict(_network_of((winner or results[0]).name, params, data).record),
        screening=read_screening() if params.backbones else Screening(),
        made_with=made_with(params),
        mlflow_run_id=run_id,
        mlflow_experiment_id=tracking.experiment_id(),
        strategies={result.name: result for result in results},
    )
    suspects = suspect_labels(_leader(comparison, entrants), data.classes)
    return comparison.model_copy(update={"suspect_labels": suspects})


def _data_facts(params: Params, data: PreparedData) -> DataFacts:
    return DataFacts(
        source=params.data.source,
        path=params.data.path,
        digest=versioning.data_digest(params.data),
        classes=data.classes,
        channels=data.channels,
        size=data.size,
        images={split: len(data.rows(split)) for split in splits.SPLITS},
        folds=data.folds,
        unusable=len(manifest.read_table(layout.QUARANTINE, manifest.QUARANTINE)),
    )


def _write(comparison: Comparison, entrants: Sequence[Entrant], params: Params, data: PreparedData) -> list[Path]:
    """Write the test predictions, the report and the comparison itself; return the report's figures."""
    plain_console().print("compare: the report")
    answers = pd.concat([table for entrant in entrants for table in entrant.tables("test")], ignore_index=True)
    manifest.write_table(answers, predictions.PREDICTIONS, layout.TEST_PREDICTIONS)
    leader = _leader(comparison, entrants)
    page = report.DataPage(read_quality(), read_probe().pretences, data.table, data.picture)
    explain, folder = _saliency(leader.name, params, data), layout.WORK / "figures"
    figures = report.write(comparison, leader.tables("test")[0], page, explain, layout.REPORT, folder)
    write_bytes(layout.COMPARISON, (comparison.model_dump_json(indent=2) + "\n").encode())
    return figures


def _leader(comparison: Comparison, entrants: Sequence[Entrant]) -> Entrant:
    return next(entrant for entrant in entrants if entrant.name == comparison.leader.name)


def _saliency(name: str, params: Params, data: PreparedData) -> Callable[[str, str], Map]:
    """Return what shows which part of an image speaks for a class, by the network that a strategy left."""
    settings = params.strategy(params.candidate(name))
    data = _network_of(name, params, data)
    adapted = with_weights(settings, data, layout.run_file(params.candidate(name), "model.safetensors"))
    hardware = device.choose(settings)
    return lambda path, label: saliency(adapted, data.picture(path), data.classes.index(label), hardware.device)


def _network_of(title: str, params: Params, data: PreparedData) -> PreparedData:
    """Return the images with the network of a candidate, which is known by its title."""
    return data.on(layout.network_of(params.candidate(title)))


def _settings_of(entrants: Sequence[Entrant], params: Params) -> dict[str, StrategyParams]:
    return {entrant.name: params.strategy(params.candidate(entrant.name)) for entrant in entrants}
