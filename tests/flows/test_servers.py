"""The servers of a team: MLflow and Prefect on PostgreSQL, artifacts in a bucket, passwords nowhere."""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from tasks import tracking
from tests.support.buckets import bucket
from tests.support.postgresql import MISSING, PASSWORD, Cluster, cluster, programs
from tests.support.project import Project, make_project
from tests.support.servers import Server, mlflow_server, prefect_server

pytestmark = [pytest.mark.system, pytest.mark.skipif(programs() is None, reason=MISSING)]

WRITERS, ROWS = 8, 500  # of two points each
USERS_PASSWORD = "word-of-a-user"  # noqa: S105
SECRETS = {"AWS_ACCESS_KEY_ID": "key-of-the-bucket", "AWS_SECRET_ACCESS_KEY": "word-of-the-bucket"}
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


@dataclass(frozen=True)
class Team:
    """What a team shares, and one project of it, which knows neither the database nor the bucket."""

    project: Project
    cluster: Cluster
    mlflow: Server
    prefect: Server
    bucket: dict[str, str]

    def run(self, *command: str) -> str:
        """Run a command that must succeed; return all that it printed."""
        address = self.mlflow.address.replace("//", f"//ann:{USERS_PASSWORD}@")
        done = self.project.run(*command, MLFLOW_TRACKING_URI=address, PREFECT_API_URL=f"{self.prefect.address}/api")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory, cells: Path) -> Iterator[Team]:
    """Both servers on one cluster, started by the commands of docs/operate/servers.md."""
    project = make_project(tmp_path_factory.mktemp("team") / "clone", cells)
    params = project.params()
    params["strategies"] = {"head_only": {"train": "head", "solver": "lbfgs"}}
    project.write_params(params)
    with cluster("mlflow", "prefect", fsync="off") as database, bucket("team") as s3:
        mlflow = mlflow_server(
            project, "--backend-store-uri", database.address("mlflow"), "--artifacts-destination", "s3://team/mlflow",
            **(database.environment | s3 | SECRETS),
        )  # fmt: skip
        prefect = prefect_server(
            project, PREFECT_SERVER_DATABASE_CONNECTION_URL=database.address("prefect", "postgresql+asyncpg"),
            **database.environment,
        )  # fmt: skip
        servers = (mlflow, prefect)
        try:
            for server in servers:
                server.start()
            for server in servers:
                server.wait()
            yield Team(project, database, mlflow, prefect, s3)
        finally:
            for server in servers:
                server.kill()


@pytest.fixture(scope="module")
def compared(team: Team) -> str:
    """What the main job printed that tracked to these servers."""
    return team.run(sys.executable, "-m", "flows.compare")


def test_nobody_else_can_reach_the_servers(team: Team) -> None:
    """Without being told otherwise, they listen to this machine alone."""
    assert team.mlflow.listens_at() == team.prefect.listens_at() == {"127.0.0.1"}


def test_many_runs_at_once_lose_no_point(team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every point of every run is in the database, once."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", team.mlflow.address)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "many")

    def train(place: int) -> tuple[str, int]:
        data = tracking.DataIdentity("images", "photos", "digest")
        run_id = tracking.start_run(f"run {place}", {"place": place}, {}, data, tmp_path / f"{place}.json")
        with tracking.history(run_id) as log:
            for epoch in range(ROWS):
                log({"epoch": epoch, "val_loss": 1 / (place + 1 + epoch), "val_accuracy": place / WRITERS})
        tracking.finish(run_id)
        return run_id, place

    with ThreadPoolExecutor(WRITERS) as pool:
        runs = dict(pool.map(train, range(WRITERS)))
    points = team.cluster.ask("mlflow", "SELECT run_uuid, key, step, value FROM metrics")
    assert sorted(point for point in points if point[0] in runs) == sorted(
        (run_id, f"epoch/{key}", epoch, value)
        for run_id, place in runs.items()
        for epoch in range(ROWS)
        for key, value in (("val_loss", 1 / (place + 1 + epoch)), ("val_accuracy", place / WRITERS))
    )


def test_both_servers_keep_what_the_main_job_did(team: Team, compared: str) -> None:
    """The flow's run and MLflow's runs are in the databases, the artifacts in the bucket, and nothing is left here."""
    assert team.cluster.ask("prefect", "SELECT state_type FROM flow_run") == [("COMPLETED",)]
    runs = "SELECT r.name, r.status FROM runs r JOIN experiments e USING (experiment_id) WHERE e.name = 'thawline'"
    assert sorted(team.cluster.ask("mlflow", runs)) == [("comparison", "FINISHED"), ("head_only", "FINISHED")]
    import s3fs

    stored = s3fs.S3FileSystem(
        key=SECRETS["AWS_ACCESS_KEY_ID"], secret=SECRETS["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=team.bucket["AWS_ENDPOINT_URL"],
    )  # fmt: skip
    names = {Path(file).name for file in stored.find("team/mlflow")}
    assert {"model.safetensors", "comparison.html", "history.csv", "MLmodel"} <= names
    assert not {"mlflow.db", "mlruns", "mlartifacts"} & {path.name for path in team.project.root.iterdir()}


def test_the_champion_of_the_server_answers(team: Team, compared: str, cells: Path) -> None:
    """It comes from the bucket through the server, and scores images as the report says."""
    team.run(sys.executable, "-m", "flows.predict", str(cells))
    answered = pd.read_parquet(team.project.root / "scores.parquet").set_index("path")
    reported = pd.read_parquet(team.project.root / "data/reports/predictions.parquet").set_index("path")
    assert answered.loc[reported.index, "label"].tolist() == reported["predicted"].tolist()


def test_no_password_is_anywhere(team: Team, compared: str) -> None:
    """Not in what anybody printed, not in a file of the project, not in either database."""
    secrets = [PASSWORD, USERS_PASSWORD, SECRETS["AWS_SECRET_ACCESS_KEY"]]
    for secret in secrets:
        assert secret not in compared
        files = (path for path in team.project.root.rglob("*") if path.is_file())
        assert not [path for path in files if secret.encode() in path.read_bytes()]
        for database in ("mlflow", "prefect"):
            for (table,) in team.cluster.ask(database, TABLES):
                held = f"SELECT count(*) FROM {table} AS row WHERE row::text LIKE '%{secret}%'"  # noqa: S608
                assert team.cluster.ask(database, held) == [(0,)], table
    run_id = json.loads((team.project.root / "data/reports/comparison.json").read_text())["mlflow_run_id"]
    pages = team.cluster.ask("prefect", "SELECT data::text FROM artifact WHERE key = 'mlflow-run'")
    assert f"{team.mlflow.address}/#/experiments/" in pages[0][0]
    assert run_id in pages[0][0]
