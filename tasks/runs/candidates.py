"""What competes: strategies on the networks that the screening kept. The other candidates are left out, and say why."""

from collections.abc import Mapping
from typing import Any

from tasks import layout
from tasks.comparison.screening import Screening
from tasks.files import atomic_path, read_json, write_bytes, write_json
from tasks.params import Params, StrategyParams
from tasks.params.loading import candidate_of

LEFT_OUT = "left_out"  # of a record: why
NOTHING_IN_BACKBONE = "params.yaml names the networks in 'backbones', and none in 'backbone'"
HISTORY = b"epoch,val_loss\n"


def read_screening() -> Screening:
    """Return what the screening found; nothing where there was none."""
    return Screening.model_validate(read_json(layout.SCREENING)) if layout.SCREENING.is_file() else Screening()


def kept_networks(params: Params) -> list[str]:
    """Return the networks that candidates are fine-tuned from; the backbone's name is empty."""
    if not params.backbones:
        return [""]
    kept = {screened.network for screened in read_screening().kept}
    return [name for name in params.networks if params.network_title(name) in kept]


def competing(params: Params) -> dict[str, StrategyParams]:
    """Return the candidates that are fine-tuned and compared, with their settings."""
    kept = kept_networks(params)
    return {name: settings for name, settings in params.candidates.items() if layout.network_of(name) in kept}


def what_competes(params: Params) -> dict[str, Any]:
    """Return what the params say of several networks, as the stages behind depend on it; nothing of one alone."""
    if not params.backbones:
        return {}
    competing = {name: network.model_dump(mode="json") for name, network in params.networks.items()}
    return {"networks": competing, "screen": params.screen.model_dump(mode="json")}


def stages_of_candidates(params: Params) -> list[str]:
    """Return all candidates that have a stage: those of the backbone too, where ``backbones`` alone compete."""
    return [candidate_of(network, name) for network in ("", *params.backbones) for name in params.strategies]


def expected_order(params: Params) -> dict[str, StrategyParams]:
    """Return the candidates by their titles, those on the network that the probe speaks for most first."""
    probed = {screened.network: screened.probed for screened in read_screening().networks}
    by_probe = sorted(
        competing(params).items(),
        key=lambda one: -probed.get(params.network_title(layout.network_of(one[0])), 0.0),
    )
    return {params.title(name): settings for name, settings in by_probe}


def parts_of_candidates(params: Params) -> dict[str, tuple[str, ...]]:
    """Return the parts of the network that each candidate is on, by its title; nothing where one competes alone."""
    if not params.backbones:
        return {}
    parts = {screened.network: screened.parts for screened in read_screening().kept}
    return {params.title(name): parts[params.network_title(layout.network_of(name))] for name in competing(params)}


def reasons(params: Params) -> dict[str, str]:
    """Return why candidates are left out, by candidate: all that have a stage and don't compete."""
    kept = kept_networks(params)
    screened = {one.network: one.why for one in read_screening().networks}
    why = {network: screened.get(params.network_title(network), "") for network in params.networks}
    networks = {name: layout.network_of(name) for name in stages_of_candidates(params)}
    return {name: why.get(network) or NOTHING_IN_BACKBONE for name, network in networks.items() if network not in kept}


def why_left_out(candidate: str) -> str:
    """Return why a candidate is left out, as the race has it; empty: it competes."""
    file = layout.race_file(candidate)
    return str(read_json(file).get(LEFT_OUT, "")) if file.is_file() else ""


def leave_out(candidate: str, reason: str) -> None:
    """Write, in place of what a candidate's fine-tuning would leave, that it is left out: DVC misses no file then."""
    with atomic_path(layout.run_file(candidate, layout.REPEATS)) as folder:
        folder.mkdir(parents=True)
        write_json(folder / "none.json", {LEFT_OUT: reason})
    for name in ("model.safetensors", "predictions.parquet"):
        write_bytes(layout.run_file(candidate, name), b"")
    write_bytes(layout.run_file(candidate, "history.csv"), HISTORY)
    for name, content in {"metrics.json": {}, "run.json": {LEFT_OUT: reason}}.items():
        write_json(layout.run_file(candidate, name), content)


def milliseconds_of(network: str, params: Params) -> float:
    """Return what an image takes on a network, as it was screened; 0 where there is one alone."""
    figures: Mapping[str, float | None] = {one.network: one.milliseconds for one in read_screening().networks}
    return (figures.get(params.network_title(network)) or 0.0) if params.backbones else 0.0
