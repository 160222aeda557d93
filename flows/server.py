"""The Prefect server that a run reports to: asked whether it is one, before anything starts."""

import os
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import prefect
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.context import get_settings_context
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_KEY,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_CLOUD_API_URL,
    temporary_settings,
)

from tasks.errors import UserError

SECONDS_TO_START = 5.0  # that a server which refuses connections, or can't answer yet, is given
SECONDS_BETWEEN_TRIES = 0.5
TIMEOUT = httpx.Timeout(20.0, connect=5.0)  # seconds; a busy server answers late
ANSWERS_LATER = {502, 503, 504}
REFUSED = {401, 403}


def require_server(what: str) -> None:
    """Raise unless a Prefect server is named, and answers.

    Raises:
        UserError: no address is set, or what is there is no server that can be used.
    """
    if not PREFECT_API_URL.value():
        raise UserError(
            f"{what} needs a Prefect server: run 'prefect server start' and set "
            "PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    check_server()


def check_server() -> None:
    """Raise unless the Prefect server that is named, if one is, answers, lets us in and is of our major version.

    Raises:
        UserError: it doesn't; the sentence says where its address comes from.
    """
    address = PREFECT_API_URL.value()
    if not address:
        return
    if urlsplit(address).scheme not in {"http", "https"} or not urlsplit(address).hostname:
        bare = address.rpartition("//")[2].strip("/") or "127.0.0.1:4200/api"
        raise UserError(f"{_named()} is no address of a server: write 'http://{_shown(bare)}', or {_without()}")
    with explained(), temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), _client() as client:
        _wait_until_healthy(client, address)
        _let_in(client, address)


@contextmanager
def explained() -> Iterator[None]:
    """Turn what keeps Prefect's client from its server into one sentence.

    Raises:
        UserError: the block raised what Prefect's client raises where a server is away, or refuses.
    """
    try:
        yield
    except httpx.HTTPStatusError as error:
        raise UserError(_refusal(error.response.status_code)) from error
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
        raise UserError(_no_answer(error)) from error
    except RuntimeError as error:  # of an engine that starts without a server
        if not isinstance(error.__cause__, httpx.HTTPError):
            raise
        raise UserError(_no_answer(error.__cause__)) from error


def _client() -> SyncPrefectClient:
    try:
        return get_client({"timeout": TIMEOUT}, sync_client=True)
    except FileNotFoundError as error:
        raise UserError(
            f"{_named()}: PREFECT_API_SSL_CERT_FILE, or SSL_CERT_FILE, names a file that is not there: correct it"
        ) from error


def _wait_until_healthy(client: SyncPrefectClient, address: str) -> None:
    until = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            answer = client.request("GET", "/health")
        except (httpx.ConnectError, httpx.HTTPStatusError) as error:
            if isinstance(error, httpx.HTTPStatusError):
                if error.response.status_code == httpx.codes.NOT_FOUND:
                    raise UserError(_not_prefect(address, "answers 404, not found")) from error
                if error.response.status_code not in ANSWERS_LATER:
                    raise
            if _is_of_tls(error) or time.monotonic() >= until:
                raise
            time.sleep(SECONDS_BETWEEN_TRIES)
        else:
            if answer.text.strip() != "true":
                kind = answer.headers.get("content-type", "something else").partition(";")[0]
                raise UserError(_not_prefect(address, f"answers with {kind}"))
            return


def _let_in(client: SyncPrefectClient, address: str) -> None:
    """Ask what, unlike the question for its health, takes a password."""
    if address.startswith(PREFECT_CLOUD_API_URL.value()):
        client.read_flow_runs(limit=1)
        return
    try:
        theirs = client.api_version()
    except ValueError as error:
        raise UserError(_not_prefect(address, "doesn't say its version")) from error
    if not re.match(r"\d+\.", str(theirs)):
        raise UserError(_not_prefect(address, "doesn't say its version"))
    ours = prefect.__version__
    if theirs.partition(".")[0] != ours.partition(".")[0]:
        raise UserError(
            f"{_named()} is Prefect {theirs}, but this environment has Prefect {ours}: start a server of this version "
            f"('prefect server start' here), or {_without()}"
        )


def _named() -> str:
    """Return the server in words: its address, without a password, and what names it where that isn't obvious."""
    address, source = _shown(PREFECT_API_URL.value()), _source()
    return f"the Prefect server {address}" + (f" ({source})" if source else "")


def _source() -> str:
    """Return where the address comes from; empty for the environment."""
    if os.environ.get("PREFECT_API_URL"):
        return ""
    profile = get_settings_context().profile
    if PREFECT_API_URL in profile.settings:
        return f"of the profile '{profile.name}'"
    return "of .env, prefect.toml or pyproject.toml"


def _without() -> str:
    """Return how to go without a server, in words."""
    source = _source()
    if not source:
        return "unset PREFECT_API_URL to go without it"
    if "profile" in source:
        return "run 'prefect profile use ephemeral' to go without it"
    return "remove PREFECT_API_URL there to go without it"


def _no_answer(error: Exception) -> str:
    server = _named()
    if _is_of_tls(error):
        return (
            f"{server} can't be trusted over TLS ({_reason(error)}): write http:// if it has no TLS, set "
            f"PREFECT_API_SSL_CERT_FILE to the certificate of whoever signed its own, or {_without()}"
        )
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return f"{server} is no address of a server ({_reason(error)}): correct it, or {_without()}"
    if isinstance(error, httpx.RemoteProtocolError):
        return (
            f"{server} doesn't speak HTTP ({_reason(error)}): write https:// if it has TLS, correct its port, "
            f"or {_without()}"
        )
    return f"{server} doesn't answer ({_reason(error)}): start it ('prefect server start'), or {_without()}"


def _refusal(status: int) -> str:
    if status in REFUSED:
        has = PREFECT_API_AUTH_STRING.value() or PREFECT_API_KEY.value()
        what = "what is set is not right" if has else "nothing is set"
        return (
            f"{_named()} lets nobody in without a password ({status}, {what}): set PREFECT_API_AUTH_STRING to its "
            f"USER:PASSWORD, or PREFECT_API_KEY for Prefect Cloud, or {_without()}"
        )
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return f"{_named()} answers with error {status}: look at its log, start it again, or {_without()}"
    return f"{_named()} answers {status} to what Prefect asks: correct its address, or {_without()}"


def _not_prefect(address: str, answers: str) -> str:
    if meant := _where_it_is(address):
        return f"{_named()} {answers}, but there is one at {_shown(meant)}: write that address, or {_without()}"
    return (
        f"{_named()} {answers}, so it is no Prefect server: its address ends in /api "
        f"(http://127.0.0.1:4200/api), or {_without()}"
    )


def _where_it_is(address: str) -> str:
    """Return the address of Prefect's API on the same machine and port; empty if there is none at the usual path."""
    root = httpx.URL(address).copy_with(path="/api", query=None, fragment=None)
    tries: list[str] = [f"{address.rstrip('/')}/api", str(root)]
    for meant in tries:
        try:
            with temporary_settings({PREFECT_API_URL: meant}), _client() as client:
                if client.request("GET", "/health").text.strip() == "true":
                    return meant
        except httpx.HTTPError:
            continue
    return ""


def _is_of_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _reason(error: BaseException) -> str:
    words = str(error).strip().partition("\n")[0]
    return _shown(words)[:160] or type(error).__name__


def _shown(text: str) -> str:
    """Return a text whose addresses have no user and no password."""
    return re.sub(r"(^|//)[^/@\s]*@", r"\1", text)
