"""A PostgreSQL of its own: a new cluster on a free port of the loopback interface, removed with its folder."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from tests.support.ports import free_port

OWNER, PASSWORD = "thawline", "word-of-the-database"
INSTALLED = Path("/usr/lib/postgresql")  # by Debian, outside PATH
MISSING = "no PostgreSQL server is installed here: apt-get install postgresql"


@dataclass(frozen=True)
class Cluster:
    """A running cluster, whose password is in no address."""

    port: int

    @property
    def environment(self) -> dict[str, str]:
        """What to set to be let in."""
        return {"PGPASSWORD": PASSWORD}

    def address(self, database: str, scheme: str = "postgresql") -> str:
        """Return the address of a database."""
        return f"{scheme}://{OWNER}@127.0.0.1:{self.port}/{database}"

    def ask(self, database: str, question: str) -> list[tuple[Any, ...]]:
        """Return the rows that answer an SQL question."""
        connection = psycopg2.connect(self.address(database), password=PASSWORD)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(question)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


def programs() -> Path | None:
    """Return the folder of ``initdb`` and ``pg_ctl``, the newest one; None where there is none."""
    program = shutil.which("pg_ctl")
    installed = sorted(INSTALLED.glob("*/bin"), key=_version, reverse=True)
    places = [Path(program).resolve().parent] if program else installed
    return next((place for place in places if (place / "initdb").exists() and (place / "pg_ctl").exists()), None)


@contextmanager
def cluster(*databases: str, **settings: str) -> Iterator[Cluster]:
    """Start a cluster with databases and settings of its own; it ends with the block.

    PostgreSQL refuses to run as root, who lends it another user.
    """
    place = programs()
    if place is None:
        raise FileNotFoundError(MISSING)
    folder = Path(tempfile.mkdtemp(prefix="thawline-postgresql-", dir="/tmp"))
    lent: dict[str, Any] = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        lent = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        shutil.chown(folder, nobody.pw_uid, nobody.pw_gid)

    def run(program: str, *options: str) -> None:
        command = [str(place / program), "-D", str(folder / "data"), *options]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, **lent)

    try:
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        access = ("-U", OWNER, "--pwfile", str(folder / "password"), "-A", "scram-sha-256")
        run("initdb", "-E", "UTF8", "--locale=C", "--no-sync", *access)
        started = Cluster(free_port())
        settings = {"port": started.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", **settings}
        given = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", given, "start")
        try:
            for database in databases:
                started.ask("postgres", f"CREATE DATABASE {database}")
            yield started
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def _version(folder: Path) -> float:
    return float(folder.parent.name)
