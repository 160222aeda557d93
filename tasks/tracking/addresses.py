"""What MLFLOW_TRACKING_URI may say, and a database server that isn't there."""

import os
import re
import socket
import time
from functools import lru_cache

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from tasks.errors import UserError
from tasks.tracking.credentials import without_user

SERVERS = {"http": 80, "https": 443}
DATABASES = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
ELSEWHERE = ("databricks", "uc:")  # which MLflow itself checks
WRITE = "write http://HOST:PORT for a server, sqlite:///FILE.db for a file, or unset it for mlflow.db in this folder"
SECONDS_TO_REACH, SECONDS_BETWEEN_TRIES = 5.0, 0.5


@lru_cache
def check(address: str) -> None:
    """Raise unless an address is one of a server or a database, and a database server can be reached.

    MLflow takes whatever has no scheme for a folder, and asks for a database that is off for almost an hour.

    Raises:
        UserError: it isn't, or can't.
    """
    kind = address.partition(":")[0].partition("+")[0].lower()
    shown = f"MLFLOW_TRACKING_URI={without_user(address)}"
    if kind in SERVERS:
        if not re.match(r"https?://[^/\s:]", address, re.I):
            raise UserError(f"{shown} names no server: {WRITE}")
    elif kind == "sqlite":
        if not address.startswith("sqlite:///"):
            raise UserError(f"{shown} names no file: {WRITE}")
    elif kind in DATABASES:
        _reach(address, DATABASES[kind], shown)
    elif not address.startswith(ELSEWHERE) and "MLFLOW_ALLOW_FILE_STORE" not in os.environ:
        raise UserError(_not_understood(address, kind, shown))


def _not_understood(address: str, kind: str, shown: str) -> str:
    if re.match(r"[\w.\-\[\]]+:\d+(/|$)", address):
        return f"{shown} lacks the kind of address: write http://{address}, or https:// if it has TLS"
    if "://" in address and kind != "file":
        return f"{shown} is of a kind that MLflow doesn't know: {WRITE}"
    return f"{shown} names a folder, in which MLflow no longer keeps runs: {WRITE}"


def _reach(address: str, port: int, shown: str) -> None:
    try:
        url = make_url(address)
        url.get_dialect().import_dbapi()  # a driver that is missing is said first
    except (ArgumentError, ValueError) as error:
        raise UserError(f"{shown} is no address of a database: write postgresql://USER@HOST/DATABASE") from error
    if not url.host or url.host.startswith("/"):
        return
    until = time.monotonic() + SECONDS_TO_REACH
    while True:
        try:
            socket.create_connection((url.host, url.port or port), timeout=SECONDS_TO_REACH).close()
        except OSError as error:
            if time.monotonic() >= until:
                raise UserError(
                    f"{shown}: no database server answers there ({error.strerror or type(error).__name__}): start it, "
                    "and run the same command again; finished work was kept"
                ) from error
            time.sleep(SECONDS_BETWEEN_TRIES)
        else:
            return
