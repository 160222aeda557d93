"""What is deployed fits what Prefect reads, the flows, and each other; no file of it holds a password."""

import importlib
import inspect
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, get_args

import jsonschema
import prefect
import pytest
from prefect.cli.deploy._models import DeploymentConfig, PrefectYamlModel, WorkPoolConfig
from prefect.client.schemas.objects import ConcurrencyLimitStrategy
from prefect.events import DeploymentTriggerTypes
from prefect.utilities.callables import parameter_schema
from pydantic import TypeAdapter

from flows.automations import read
from tasks.steps.retrain import Outcome
from tests.support.paths import ROOT, read_yaml

FILES = ("prefect.yaml", "deploy/prefect.containers.yaml")
COLLECTIONS = Path(prefect.__file__).parent / "server/api/collections_data/views/aggregate-worker-metadata.json"
BY_THE_WORKER = {"name", "command", "env", "labels"}
NO_BLOCK = "00000000-0000-0000-0000-000000000000"


def deployments() -> dict[str, dict[str, Any]]:
    """Return all deployments by their names."""
    return {deployment["name"]: deployment for file in FILES for deployment in read_yaml(file)["deployments"]}


def flow_of(deployment: dict[str, Any]) -> Any:
    """Return the flow that is deployed."""
    file, name = deployment["entrypoint"].split(":")
    return getattr(importlib.import_module(file.removesuffix(".py").replace("/", ".")), name)


def template(kind: str) -> Any:
    """Return the base job template of deploy/ for a kind of work pool."""
    return json.loads((ROOT / f"deploy/{kind}.json").read_text(encoding="utf-8"))


def shipped(kind: str) -> Any:
    """Return Prefect's base job template for a kind of work pool."""
    collections = json.loads(COLLECTIONS.read_text(encoding="utf-8"))
    return next(kinds[kind] for kinds in collections.values() if kind in kinds)["default_base_job_configuration"]


def lost(ours: Any, theirs: Any, place: str = "") -> list[str]:
    """Return the places at which ours lacks what theirs has, or says something else."""
    if isinstance(theirs, dict):
        return [
            wrong
            for key, value in theirs.items()
            for wrong in (lost(ours[key], value, f"{place}/{key}") if key in ours else [f"{place}/{key}"])
        ]
    if isinstance(theirs, list):
        return [wrong for n, value in enumerate(theirs) for wrong in lost(ours[n], value, f"{place}/{n}")]
    return [] if ours == theirs else [place]


@pytest.mark.parametrize("file", FILES)
def test_prefect_reads_the_file_and_every_key_of_it(file: str) -> None:
    """Prefect's own model takes the file, and ignores nothing of it."""
    prefect_file = read_yaml(file)
    PrefectYamlModel.model_validate(prefect_file)
    assert {key.replace("-", "_") for key in prefect_file} <= set(PrefectYamlModel.model_fields)
    for deployment in prefect_file["deployments"]:
        assert set(deployment) <= set(DeploymentConfig.model_fields)
        assert set(deployment["work_pool"]) <= set(WorkPoolConfig.model_fields)
        for trigger in deployment.get("triggers", []):
            TypeAdapter(DeploymentTriggerTypes).validate_python(trigger)
    assert prefect_file["prefect-version"] == prefect.__version__


@pytest.mark.parametrize("name", deployments())
def test_every_deployment_fits_its_flow(name: str) -> None:
    """It has the flow's parameters, runs one at a time, and its schedules are cron expressions with a time zone."""
    deployment = deployments()[name]
    assert set(deployment["parameters"]) == set(inspect.signature(flow_of(deployment).fn).parameters)
    assert deployment["tags"] == ["thawline"]
    assert deployment["description"]
    limit = deployment["concurrency_limit"]
    assert limit["limit"] == 1
    assert ConcurrencyLimitStrategy(limit["collision_strategy"]) is ConcurrencyLimitStrategy.ENQUEUE
    for schedule in deployment["schedules"]:
        assert len(schedule["cron"].split()) == 5
        assert schedule["timezone"]


@pytest.mark.parametrize("name", deployments())
def test_the_form_explains_every_parameter(name: str) -> None:
    """Prefect's page shows a description beside every parameter of a deployed flow."""
    schema = parameter_schema(flow_of(deployments()[name]))
    jsonschema.validate(deployments()[name]["parameters"], schema.model_dump())
    for key, parameter in schema.properties.items():
        assert len(parameter.get("description", "").split()) > 1, key


def test_only_one_schedule_is_on() -> None:
    """Two schedules at once would work in the same folder."""
    active = [
        name
        for name, deployment in deployments().items()
        for schedule in deployment["schedules"]
        if schedule.get("active", True)
    ]
    assert active == ["retrain"]


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_container_deployments_set_what_the_template_has(kind: str) -> None:
    """The job variables of the deployment are those of the work pool's template, of the right types."""
    job_variables = deployments()[f"retrain-{kind}"]["work_pool"]["job_variables"]
    schema = template(kind)["variables"]
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(job_variables, {**schema, "additionalProperties": False})
    if kind == "docker":
        jsonschema.validate(job_variables, {**shipped(kind)["variables"], "additionalProperties": False})
    assert job_variables["image"]
    assert "env" not in job_variables, "what is set here is kept in the clear, and shown"


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_templates_only_add_to_prefects(kind: str) -> None:
    """Whatever Prefect's own template for such a work pool has is in ours, unchanged; all it fills in is declared."""
    ours, theirs = template(kind), shipped(kind)
    theirs["variables"]["properties"]["env"].pop("description")
    assert lost(ours, theirs) == []
    named = set(re.findall(r"{{ (\w+) }}", json.dumps(ours["job_configuration"])))
    assert named <= set(ours["variables"]["properties"]) | BY_THE_WORKER


def test_containers_know_the_tracking_server_by_a_secret() -> None:
    """Neither a deployment nor a template holds the address of MLflow, only where it is kept."""
    env = template("docker")["variables"]["properties"]["env"]["default"]
    assert env == {"MLFLOW_TRACKING_URI": "{{ prefect.blocks.secret.mlflow-tracking-uri }}"}
    pod = template("kubernetes")["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "{{ secret }}"}}]
    for file in [ROOT / "prefect.yaml", *sorted((ROOT / "deploy").iterdir())]:
        assert not re.search(r"://[^/\s]*:[^/\s]*@", file.read_text(encoding="utf-8")), file


def test_the_image_has_what_pyproject_asks_for() -> None:
    """The line of the Dockerfile that lists the requirements lists them all, with the extras; no run is root's."""
    text = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = shlex.split(re.search(r"^ARG EXTRAS=(.*)$", text, re.M)[1])[0].split()
    program = re.search(r'python -c "(.*?)" \$EXTRAS', text)[1]
    done = subprocess.run(
        [sys.executable, "-c", program, *extras], cwd=ROOT, capture_output=True, text=True, check=True
    )
    optional = [requirement for name in extras for requirement in project["optional-dependencies"][name]]
    assert done.stdout.splitlines() == [*project["dependencies"], *optional]
    assert re.search(r"^FROM python:3\.11-slim$", text, re.M)
    for copied in re.search(r"^COPY (.*) \./$", text, re.M)[1].split():
        assert (ROOT / copied).is_file()
        assert f"!{copied}" in (ROOT / "deploy/Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert re.findall(r"^USER (.*)$", text, re.M)[-1] == "$UID:$GID"
    assert int(re.search(r"^ARG UID=(.*)$", text, re.M)[1]) > 0


def test_prefect_understands_the_automations() -> None:
    """Both files are in Prefect's form, and no two automations have one name."""
    without = read(ROOT / "deploy/automations.yaml")
    with_it = read(ROOT / "deploy/webhook.yaml", block_document_id=NO_BLOCK)
    names = [automation.name for automation in (*without, *with_it)]
    assert len(set(names)) == len(names)
    assert not any(hasattr(action, "block_document_id") for automation in without for action in automation.actions)


@pytest.mark.parametrize("does", ["cancel-flow-run", "change-flow-run-state"])
def test_a_run_that_ended_stays_as_it_ended(does: str) -> None:
    """However a retraining ends, the automations that end what runs too long, or is dead, have heard of it."""
    (watching,) = (a for a in read(ROOT / "deploy/automations.yaml") if a.actions[0].type == does)
    ends = {"Completed", "Skipped", "Failed", "Crashed", "Cancelled", "TimedOut"}
    ends |= {outcome.capitalize() for outcome in get_args(Outcome)}
    assert {f"prefect.flow-run.{end}" for end in ends} <= watching.trigger.expect
