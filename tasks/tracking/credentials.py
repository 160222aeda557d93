"""Passwords stay in the environment: in no address that MLflow prints, in no sentence and in no file."""

import os
import re
from urllib.parse import unquote, urlsplit

IN_ADDRESS = re.compile(r"//\S*@")
IN_QUERY = re.compile(r"(?i)\b(password|passwd|token|secret)=[^\s&]+")
SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY")


def separated(address: str) -> str:
    """Return a server's address without its user and password, which go to the variables that MLflow reads them from.

    An address of anything else is returned as it is.
    """
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.username or not parts.password:
        return address
    os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username)
    os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def without_user(text: str) -> str:
    """Return a text whose addresses have no user and no password."""
    return IN_ADDRESS.sub("//", IN_QUERY.sub(r"\1=…", text))


def hidden(text: str) -> str:
    """Return a text without users and passwords of addresses, and without the secrets of the environment."""
    text = without_user(text)
    for secret in filter(None, map(os.environ.get, SECRETS)):
        text = text.replace(secret, "…")
    return text
