"""What is written in several places agrees: dvc.yaml, the steps, params.yaml, prefect.yaml, the pins, the README."""

import importlib
import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tasks import layout
from tasks.__main__ import app
from tasks.params import Params, load_params
from tasks.runs.code import FINE_TUNING
from tests.contracts.imports import import_graph, is_in, module_of, reached
from tests.support.paths import ROOT, read_yaml

# What stages import and don't depend on, as an edit of it changes no result.
PLUMBING = {
    "tasks.arrays": "names types of arrays",
    "tasks.record": "refuses records with other fields than theirs",
    "tasks.errors": "says what a user can mend",
    "tasks.environment": "reads what processes tell each other",
    "tasks.files": "writes files, whole or not at all, and digests them",
    "tasks.layout": "says where files lie; all are dependencies and outputs",
    "tasks.progress": "shows progress",
    "tasks.stopping": "ends work between two of its steps",
    "tasks.data.manifest": "reads tables that are dependencies, by the schema that they were written by",
    "tasks.data.decoding": "decodes files; stages behind prepare read decoded pixels",
    "tasks.data.image_facts": "describes the files that pixels were made from",
    "tasks.tracking": "keeps what happened",
    "tasks.versioning": "says which version of the images and of the code it was",
    "tasks.runs.code": "digests the code that results depend on",
    "tasks.runs.comparison_logging": "hands MLflow what a comparison found",
    "tasks.runs.estimates": "says how long a job takes",
    "tasks.runs.launch": "starts processes; how many train together is among the strategy's settings",
    "tasks.runs.metadata": "describes a run to MLflow",
    "tasks.runs.model_logging": "hands MLflow what a fine-tuning left",
    "tasks.runs.speeds": "measures how fast the machine is",
    "tasks.runs.handover": "hands outputs from one stage to another",
    "tasks.runs.outputs": "reads the files that other stages wrote",
    "tasks.runs.watching": "shows how far answers are",
}
OF_FURTHER_NETWORKS = {"network": "backbone", "candidate": "finetune"}  # stages, and the steps that they run
COMPUTING = (
    "screen",
    "probe",
    "race",
    "finetune",
    "compare",
)  # the stages whose dependencies are held against their imports


def stages() -> dict[str, dict[str, Any]]:
    """Return the stages of dvc.yaml; of a foreach, what is done for each."""
    return {name: stage.get("do", stage) for name, stage in read_yaml("dvc.yaml")["stages"].items()}


def paths(entries: list[Any]) -> list[str]:
    """Return the paths of a list of outputs, with or without options."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


@pytest.mark.parametrize("stage", stages())
def test_every_stage_runs_a_step(stage: str) -> None:
    """The command of a stage is ``python -m tasks STEP`` with a step of that name, or that of the backbone's stage."""
    steps = {str(command.callback.__name__) for command in app.registered_commands if command.callback}
    command = stages()[stage]["cmd"].split()
    assert command[:3] == ["python", "-m", "tasks"]
    assert command[3] == OF_FURTHER_NETWORKS.get(stage, stage)
    assert command[3] in steps


@pytest.mark.parametrize("stage", stages())
def test_params_and_code_of_every_stage_exist(stage: str) -> None:
    """A stage names sections that params.yaml may have, and code that is there."""
    content = stages()[stage]
    for param in content.get("params", []):
        assert param.split(".")[0] in Params.model_fields
    for dependency in content.get("deps", []):
        assert not dependency.startswith("tasks") or (ROOT / dependency).exists()


def code_of(stage: str) -> list[str]:
    """Return the code that a stage depends on, as dvc.yaml names it."""
    return [path for path in stages()[stage].get("deps", []) if path.startswith("tasks/")]


def forgotten(stage: str, code: list[str]) -> set[str]:
    """Return the modules that a stage's step imports, and that neither are in some code nor change nothing."""
    named = [module_of(ROOT / path) for path in code]
    plumbing = [module for module in PLUMBING if module not in named]
    modules = reached(import_graph(), f"tasks.steps.{stage}", without=plumbing)
    return {module for module in modules if not is_in(module, named)}


@pytest.mark.parametrize("stage", COMPUTING)
def test_a_stage_depends_on_the_code_that_can_change_what_it_makes(stage: str) -> None:
    """All that its step imports, also through others, but for what changes no result."""
    assert forgotten(stage, code_of(stage)) == set()


def test_code_that_a_stage_forgets_is_found() -> None:
    """A room or a module that is left out of the dependencies is named."""
    code = code_of("finetune")
    assert "tasks.training.loop" in forgotten("finetune", [path for path in code if path != "tasks/training"])
    assert forgotten("finetune", [path for path in code if path != "tasks/data/store.py"]) == {"tasks.data.store"}


def test_what_changes_no_result_is_imported() -> None:
    """What is left out of the dependencies is there, and some stage would else have to name it."""
    graph = import_graph()
    modules = set().union(*(reached(graph, f"tasks.steps.{stage}") for stage in COMPUTING))
    assert [module for module in PLUMBING if module not in modules] == []


def test_a_fine_tuning_is_identified_by_the_code_that_its_stage_depends_on() -> None:
    """What makes DVC's stage stale makes it another fine-tuning, and nothing else does."""
    assert list(FINE_TUNING) == code_of("finetune")


def test_further_networks_are_treated_as_the_backbone() -> None:
    """Their stages depend on the same code and params, and leave the same files, each below its own folder."""
    declared = stages()
    for stage, step in OF_FURTHER_NETWORKS.items():
        further, usual = declared[stage], declared[step]
        assert code_of(stage) == code_of(step)
        files, usual_files = ({Path(path).name for path in paths(of["outs"])} for of in (further, usual))
        assert {name.removeprefix("named_") for name in files} == usual_files
        assert len(further["params"]) == len(usual["params"])


def test_outputs_lie_where_the_steps_write() -> None:
    """dvc.yaml and the layout agree on every file."""
    declared = {path for stage in stages().values() for key in ("outs", "metrics", "plots") for path in
                paths(stage.get(key, []))}  # fmt: skip
    single = [layout.FETCHED, layout.MANIFEST, layout.QUARANTINE, layout.LEAKS, layout.QUALITY, layout.PIXELS,
              layout.WORKING_SIZE, layout.PIXELS.with_suffix(".jsonl"), layout.PROBE, layout.RACE, layout.WEIGHTS,
              layout.UNLABELLED, layout.WEIGHTS_RECORD, layout.NAMED_WEIGHTS, layout.NAMED_NETWORK, layout.REPORT,
              layout.COMPARISON, layout.TEST_PREDICTIONS, layout.UNLABELLED_SCORES, layout.COMPETING, layout.SCREENING,
              layout.weights("${key}"), layout.weights_record("${key}"), *layout.named("${key}")]  # fmt: skip
    runs = ("model.safetensors", "predictions.parquet", "run.json", "metrics.json", "history.csv", "repeats")
    candidates = ("${key}", "${item.network}/${item.strategy}")
    assert declared == {path.as_posix() for path in single} | {
        layout.run_file(candidate, name).as_posix() for candidate in candidates for name in runs
    }


def test_shipped_params_have_the_sections_that_stages_name() -> None:
    """DVC refuses a stage whose params are missing, so the shipped file has them all."""
    shipped = read_yaml("params.yaml")
    for name, stage in stages().items():
        for param in stage.get("params", []) if name not in OF_FURTHER_NETWORKS else ():
            value = shipped
            for key in param.replace("${key}", next(iter(shipped["strategies"]))).split("."):
                value = value[key]


def test_work_pool_deployment_fits_the_flow() -> None:
    """prefect.yaml names a flow that is there, with its parameters, and a cron schedule."""
    for deployment in read_yaml("prefect.yaml")["deployments"]:
        file, name = deployment["entrypoint"].split(":")
        flow = getattr(importlib.import_module(file.removesuffix(".py").replace("/", ".")), name)
        assert set(deployment["parameters"]) == set(inspect.signature(flow.fn).parameters)
        assert all(len(schedule["cron"].split()) == 5 for schedule in deployment["schedules"])


def test_every_dependency_is_pinned() -> None:
    """constraints.txt pins what pyproject.toml asks for, and within its bounds."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}
    asked = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    for requirement in map(Requirement, asked):
        if requirement.name == project["name"]:  # an extra that takes in others
            continue
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])


def test_every_gallery_is_understood() -> None:
    """The benchmark of strategies has at least twelve, which all are what params.yaml takes."""
    assert len(load_params(ROOT / "tests/benchmarks/strategies.yaml").strategies) >= 12


def test_readme_starts_with_the_two_commands() -> None:
    """The first shell block does the main job, the second the tests; each makes the environment."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert all("python3 -m venv .venv" in block and "-c constraints.txt" in block for block in blocks[:2])
    assert [block.split()[-1] for block in blocks[:2]] == ["repro", "pytest"]


@pytest.mark.parametrize(
    ("page", "heading"),
    [("README.md", "Ways of fine-tuning"), ("docs/use/strategies.md", "Those that come with it")],
)
def test_pages_list_the_shipped_strategies(page: str, heading: str) -> None:
    """The table of strategies is the one that params.yaml has."""
    section = (ROOT / page).read_text().split(f"## {heading}")[1].split("\n## ")[0]
    table = re.findall(r"^\| `(\w+)` \|", section, re.M)
    assert table == list(load_params(ROOT / "params.yaml").strategies)
