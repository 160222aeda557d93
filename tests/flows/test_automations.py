"""Automations and container deployments on a real Prefect server, on loopback."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows.automations import read
from tests.support.paths import ROOT
from tests.support.project import make_project
from tests.support.servers import Team, shared_prefect
from tests.support.waiting import wait_for
from tests.support.webhooks import Webhook, listening

pytestmark = pytest.mark.system

NO_BLOCK = {"block_document_id": "00000000-0000-0000-0000-000000000000"}
ADDRESS = "http://team:swordfish@mlflow:5000"
ADDRESS_KEPT = (
    "from prefect.blocks.system import Secret; Secret(value={!r}).save('mlflow-tracking-uri', overwrite=True)"
)
ANNOUNCED = "from flows.retrain import announce; announce({!r}, '7', champion='7', reason={!r})"

# Fills in the template of a work pool as its worker does, and prints the job.
JOB = """
import asyncio, json, sys
from prefect.client.orchestration import get_client
from prefect.workers.base import BaseJobConfiguration

class Job(BaseJobConfiguration, extra="allow"):
    pass

async def main():
    async with get_client() as client:
        deployment = await client.read_deployment_by_name(sys.argv[1])
        pool = await client.read_work_pool(deployment.work_pool_name)
        job = await Job.from_template_and_values(pool.base_job_template, deployment.job_variables, client=client)
        print(json.dumps(job.model_dump(mode="json")))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, cells: Path) -> Iterator[Team]:
    """A project, in which nothing has run, with the deployments of both files."""
    team = Team(shared_prefect(), make_project(tmp_path_factory.mktemp("automations") / "clone", cells), "automations")
    yield team
    team.run("prefect", "--no-prompt", "automation", "delete", "--all")


@pytest.fixture(scope="module")
def webhook(server: Team) -> Iterator[Webhook]:
    """What the automations tell."""
    with listening() as heard:
        yield heard


@pytest.fixture(scope="module")
def created(server: Team, webhook: Webhook) -> str:
    """What the command prints the first time."""
    return automations(server, webhook)


@pytest.fixture(scope="module")
def deployed(server: Team) -> dict[str, Any]:
    """The deployments of both files, by their names."""
    for kind in ("docker", "kubernetes"):
        template = f"deploy/{kind}.json"
        server.run(
            "prefect", "work-pool", "create", f"thawline-{kind}", "--type", kind, "--base-job-template", template
        )
    server.run(sys.executable, "-c", ADDRESS_KEPT.format(ADDRESS))
    server.deploy()
    server.run("prefect", "--no-prompt", "deploy", "--all", "--prefect-file", "deploy/prefect.containers.yaml")
    return {deployment["name"]: deployment for deployment in server.ask("deployments/filter")}


def automations(server: Team, webhook: Webhook) -> str:
    """Run the command that creates them."""
    done = server.project.run(
        sys.executable, "-m", "flows.automations", "--webhook-from", "THAWLINE_WEBHOOK", PREFECT_API_URL=server.api,
        THAWLINE_WEBHOOK=webhook.address,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_of(server: Team, deployment: dict[str, Any], kind: str, message: str = "") -> dict[str, Any]:
    """Make a run of a deployment and give it a state; return the run."""
    run: dict[str, Any] = server.ask(f"deployments/{deployment['id']}/create_flow_run")
    set_state(server, run, type=kind, message=message)
    return run


def set_state(server: Team, run: dict[str, Any], **state: str) -> None:
    """Give a run a state, whatever it is in."""
    assert server.ask(f"flow_runs/{run['id']}/set_state", state=state, force=True)["status"] == "ACCEPT"


def names_of(server: Team) -> list[str]:
    """Return the automations that the server has."""
    return sorted(automation["name"] for automation in server.ask("automations/filter"))


def test_they_are_created_once(server: Team, webhook: Webhook, created: str) -> None:
    """A second call brings them up to date; what was switched off stays off; the address stays secret."""
    names = [name for name in names_of(server) if "export" not in name]
    wanted = [a.name for file in ("automations", "webhook") for a in read(ROOT / f"deploy/{file}.yaml", **NO_BLOCK)]
    assert names == sorted(wanted)
    assert created.count("created the automation") == len(wanted)
    server.run("prefect", "automation", "pause", "Thawline: tell of a failure")
    again = automations(server, webhook)
    assert again.count("updated the automation") == len(wanted)
    known = server.ask("automations/filter")
    assert sorted(a["name"] for a in known if "export" not in a["name"]) == names
    assert {a["name"] for a in known if not a["enabled"]} >= {"Thawline: tell of a failure"}
    server.run("prefect", "automation", "resume", "Thawline: tell of a failure")
    blocks = json.dumps(server.ask("block_documents/filter"))
    assert "hook-of-the-team" not in blocks + created + again


@pytest.mark.parametrize("decision", ["promoted", "refused"])
def test_the_webhook_hears_of_the_champion(server: Team, webhook: Webhook, created: str, decision: str) -> None:
    """Of what was decided, and why, whatever characters the reason has."""
    reason = f'"{decision}" \\ because\nof «this»'
    server.run(sys.executable, "-c", ANNOUNCED.format(decision, reason))
    text = f"Thawline: {decision}, champion is version 7: {reason}"
    wait_for(lambda: text in webhook.texts, 60)


def test_a_failure_is_told_and_the_third_pauses_the_deployment(
    server: Team, webhook: Webhook, created: str, deployed: dict[str, Any]
) -> None:  # fmt: skip
    """Two failures don't; and another deployment goes on."""
    failing, other = deployed["retrain"], deployed["nightly"]
    for count in range(3):
        assert not server.ask("deployments/filter", deployments={"name": {"any_": ["retrain"]}})[0]["paused"]
        run = run_of(server, failing, "FAILED", "the disk is full")
        text = f"Thawline: retrain ({run['name']}) Failed: the disk is full"
        wait_for(lambda text=text: text in webhook.texts, 60)
        if count == 0:
            run_of(server, other, "CRASHED", "killed")
    wait_for(lambda: server.ask("deployments/filter", deployments={"name": {"any_": ["retrain"]}})[0]["paused"], 60)
    assert not server.ask("deployments/filter", deployments={"name": {"any_": ["nightly"]}})[0]["paused"]


def test_what_runs_too_long_is_cancelled(server: Team, deployed: dict[str, Any]) -> None:
    """And what has ended in time stays as it ended; tried with 10 seconds instead of hours."""
    content = YAML(typ="safe").load(ROOT / "deploy/automations.yaml")
    short = next(a for a in content["automations"] if a["actions"] == [{"type": "cancel-flow-run"}])
    short["trigger"]["within"] = 10
    server.run("prefect", "automation", "create", "--from-json", json.dumps({**short, "name": "short"}))
    long, quick = (run_of(server, deployed["nightly"], "RUNNING") for _ in range(2))
    set_state(server, quick, type="COMPLETED", name="Skipped")
    runs = {"id": {"any_": [long["id"], quick["id"]]}}

    def states() -> dict[str, str]:
        return {run["id"]: run["state_name"] for run in server.ask("flow_runs/filter", flow_runs=runs)}

    wait_for(lambda: states()[long["id"]] in {"Cancelling", "Cancelled"}, 60)
    assert states()[quick["id"]] == "Skipped"


def test_containers_get_the_secret_only_as_they_start(server: Team, deployed: dict[str, Any]) -> None:
    """The server shows no password with the deployments; the worker's job has it, or the name of the secret."""
    assert {"retrain-docker", "retrain-kubernetes"} <= set(deployed)
    assert "swordfish" not in json.dumps(deployed)
    job = json.loads(server.run(sys.executable, "-c", JOB, "retrain/retrain-docker").splitlines()[-1])
    assert job["env"]["MLFLOW_TRACKING_URI"] == ADDRESS
    assert "/srv/thawline:/thawline" in job["volumes"]
    output = server.run(sys.executable, "-c", JOB, "retrain/retrain-kubernetes")
    assert "swordfish" not in output
    pod = json.loads(output.splitlines()[-1])["job_manifest"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["envFrom"] == [{"secretRef": {"name": "thawline"}}]
    assert container["resources"]["limits"] == {"memory": "16Gi", "nvidia.com/gpu": "1"}
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted == {"repository": "/thawline", "dvc-cache": "/var/cache/dvc"}
    claims = {volume["name"]: volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"]}
    assert claims == {"repository": "thawline-repository", "dvc-cache": "thawline-dvc-cache"}


def test_what_is_missing_is_one_sentence(server: Team) -> None:
    """Neither a server nor an address, or a server that doesn't answer."""
    command = (sys.executable, "-m", "flows.automations", "--webhook-from", "NOWHERE")
    cases = {
        "an automation needs a Prefect server": {},
        "NOWHERE holds no http address": {"PREFECT_API_URL": server.api},
    }
    for sentence, environment in cases.items():
        done = server.project.run(*command, **environment)
        assert done.returncode == 2
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
    nobody = server.project.run(
        *command[:3], PREFECT_API_URL="http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES="0"
    )  # fmt: skip
    assert nobody.returncode == 2, nobody.stderr
    assert "doesn't answer" in nobody.stderr
    assert "Traceback" not in nobody.stderr
