"""Three nights of the deployment ``retrain`` on a real Prefect server and worker, each begun by the schedule alone.

In the first nothing is new, in the second new images help, in the third their labels are swapped. Prints what
happened; exits with status 1 if something is not as it should be:

    python -m tests.benchmarks.night
"""

import json
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML

from tests.support import servers
from tests.support.batches import write_batches
from tests.support.project import Project, make_project
from tests.support.results import aliases
from tests.support.running import process
from tests.support.servers import Team
from tests.support.waiting import wait_for
from tests.support.webhooks import Webhook, listening

SKIPPED_WITHIN = 30  # seconds of a run that finds nothing new
LEFT = 15  # seconds that are left before the next run begins, for images to be brought
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass(frozen=True)
class Schedule:
    """The nights: every so many seconds from the first."""

    every: int
    first: datetime

    def left(self) -> float:
        """Return the seconds until the next night."""
        passed = (datetime.now(UTC) - self.first).total_seconds()
        return self.every - passed % self.every


@dataclass
class Findings:
    """What is as it should be, and what isn't."""

    wrong: list[str] = field(default_factory=list)

    def expect(self, is_so: bool, what: str) -> None:
        """Print what should be, and remember it if it isn't."""
        print(f"  {'ok   ' if is_so else 'WRONG'}  {what}", flush=True)
        if not is_so:
            self.wrong.append(what)


@dataclass(frozen=True)
class Nights:
    """A server with the scheduled retraining, and what watches it."""

    server: Team
    schedule: Schedule
    webhook: Webhook
    findings: Findings

    def runs(self) -> list[dict[str, Any]]:
        """Return the runs of the retraining."""
        runs: list[dict[str, Any]] = self.server.ask(
            "flow_runs/filter", deployments={"name": {"any_": ["retrain"]}}, sort="EXPECTED_START_TIME_ASC"
        )
        return runs

    def night(self, title: str, bring: Callable[[], None]) -> dict[str, Any]:
        """Bring images between two runs, wait until the next run has ended, print it, and return it."""
        print(f"\n{title}", flush=True)

        def between_runs() -> bool:
            at_work = any(run["state_type"] in {"PENDING", "RUNNING", "CANCELLING"} for run in self.runs())
            return not at_work and self.schedule.left() > LEFT

        wait_for(between_runs, 10 * self.schedule.every)
        bring()
        since = datetime.now(UTC)

        def ended() -> list[dict[str, Any]]:
            begun = [run for run in self.runs() if run["start_time"] and instant(run["start_time"]) > since]
            return [run for run in begun if run["state_type"] in ENDED]

        run: dict[str, Any] = wait_for(ended, 10 * self.schedule.every)[0]
        due, begun, done = (instant(run[key]) for key in ("expected_start_time", "start_time", "end_time"))
        print(f"  {run['state_name']}: {run['state']['message']}")
        seconds = (done - begun).total_seconds()
        print(f"  due {due:%H:%M:%S}, begun {begun:%H:%M:%S}, ended {done:%H:%M:%S}: {seconds:.1f} s")
        self.findings.expect(run["auto_scheduled"], "the schedule began it, by itself")
        return run | {"seconds": seconds}

    def told(self, since: int, what: str) -> bool:
        """Return whether the webhook was told exactly one thing since then, and print it."""
        try:
            wait_for(lambda: len(self.webhook.texts) > since, 60)
        except AssertionError:
            return False
        texts = self.webhook.texts[since:]
        print(f"  the webhook was told: {'; '.join(texts)}")
        return len(texts) == 1 and texts[0].startswith(f"Thawline: {what}, ")


def instant(text: str) -> datetime:
    """Return a time of Prefect's REST API."""
    return datetime.fromisoformat(text)


def recorded(project: Project, version: str) -> tuple[str, str]:
    """Return what MLflow's registry says of a version: the decision, and the description with its reason."""
    with sqlite3.connect(project.root / "mlflow.db") as database:
        asked = "SELECT value FROM model_version_tags WHERE key = 'thawline.decision' AND version = ?"
        (decision,) = database.execute(asked, (version,)).fetchone()
        asked = "SELECT description FROM model_versions WHERE version = ?"
        (description,) = database.execute(asked, (version,)).fetchone()
    return str(decision), str(description)


def small_project(folder: Path) -> Project:
    """Return a project over an empty folder, with a strategy that is solved in seconds."""
    (folder / "images").mkdir()
    project = make_project(folder / "clone", folder / "images")
    params = project.params()
    params["strategies"] = {"head_only": {"train": "head", "solver": "lbfgs"}}
    params["retrain"] = {"min_images": 15, "part_images": 8, "confidence": 0.9, "max_slowdown": 5}
    params["compare"]["robustness_images"] = 0
    project.write_params(params)
    return project


def set_schedule(project: Project, every: int) -> Schedule:
    """Let the deployment retrain run every so many seconds, from soon on."""
    schedule = Schedule(every, datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=60))
    yaml = YAML()
    content: Any = yaml.load(project.root / "prefect.yaml")
    retrain = next(deployment for deployment in content["deployments"] if deployment["name"] == "retrain")
    retrain["schedules"] = [{"interval": every, "anchor_date": schedule.first.isoformat(), "timezone": "UTC"}]
    with (project.root / "prefect.yaml").open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)
    return schedule


@contextmanager
def deployed(project: Project, every: int, findings: Findings) -> Iterator[Nights]:
    """Keep server, worker and webhook running, with the deployments and automations of the repository."""
    with ExitStack() as stack:
        webhook = stack.enter_context(listening())
        prefect = servers.prefect_server(project, PREFECT_HOME=str(project.root.parent / "server"))
        prefect.start()
        stack.callback(prefect.kill)
        prefect.wait()
        server = Team(f"{prefect.address}/api", project, "thawline")
        server.run("prefect", "work-pool", "create", "thawline", "--type", "process")
        created = project.run(
            sys.executable, "-m", "flows.automations", "--webhook-from", "THAWLINE_WEBHOOK",
            PREFECT_API_URL=server.api, THAWLINE_WEBHOOK=webhook.address,
        )  # fmt: skip
        print(created.stdout.rstrip(), flush=True)
        schedule = set_schedule(project, every)
        server.run("prefect", "--no-prompt", "deploy", "--all")
        worker = ("prefect", "worker", "start", "--pool", "thawline")
        stack.enter_context(process(project, *worker, PREFECT_API_URL=server.api))
        yield Nights(server, schedule, webhook, findings)


def observe(nights: Nights, folder: Path) -> None:
    """Go through the three nights."""
    project, findings = nights.server.project, nights.findings
    images, record = folder / "images", project.root / "data/reports/retrain.json"
    before, heard = record.read_bytes(), len(nights.webhook.texts)

    run = nights.night("night 1: nothing is new", lambda: None)
    findings.expect(run["state_name"] == "Skipped", "it is skipped")
    findings.expect(run["seconds"] < SKIPPED_WITHIN, f"in less than {SKIPPED_WITHIN} s")
    findings.expect(record.read_bytes() == before, "the last decision stays as it was")
    findings.expect(aliases(project)["champion"] == "1", "version 1 is champion")
    findings.expect(len(nights.webhook.texts) == heard, "nobody was told anything")

    def bring(batch: str) -> Callable[[], None]:
        return lambda: shutil.copytree(folder / batch, images, dirs_exist_ok=True) and None

    run = nights.night("night 2: images of a class that the champion doesn't know", bring("of_a_new_class"))
    findings.expect(run["state_name"] == "Promoted", "the challenger is promoted")
    now = aliases(project)
    findings.expect((now["champion"], now["previous"]) == ("2", "1"), "version 2 is champion, version 1 is previous")
    decided = json.loads(record.read_text())
    decision, description = recorded(project, "2")
    findings.expect(decision == "promoted" and decided["reason"] in description, "MLflow has the reason with version 2")
    findings.expect(nights.told(heard, "promoted"), "the automation told the webhook of it, once")
    heard = len(nights.webhook.texts)

    run = nights.night("night 3: images with swapped labels", bring("swapped"))
    findings.expect(run["state_name"] == "Refused", "the challenger is refused")
    now = aliases(project)
    findings.expect((now["champion"], now["previous"]) == ("2", "1"), "version 2 is still champion")
    decided = json.loads(record.read_text())
    decision, description = recorded(project, "3")
    findings.expect(decision == "refused" and decided["reason"] in description, "MLflow has the reason with version 3")
    findings.expect(nights.told(heard, "refused"), "the automation told the webhook of it, once")


def main(
    every: Annotated[int, typer.Option(help="Seconds from one night to the next.")] = 120,
) -> None:
    """Watch three nights and say what happened."""
    findings, started = Findings(), time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_batches(folder)
        project = small_project(folder)
        shutil.copytree(folder / "first", folder / "images", dirs_exist_ok=True)
        evening = project.run(sys.executable, "-m", "flows.retrain")
        print("the evening before, by hand:", evening.stdout.strip().splitlines()[-1], flush=True)
        findings.expect(evening.returncode == 0 and aliases(project)["champion"] == "1", "version 1 is champion")
        with deployed(project, every, findings) as nights:
            observe(nights, folder)
    print(f"\n{len(findings.wrong)} things are not as they should be, after {time.monotonic() - started:.0f} s")
    raise typer.Exit(1 if findings.wrong else 0)


if __name__ == "__main__":
    typer.run(main)
