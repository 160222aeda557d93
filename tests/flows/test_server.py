"""A Prefect server that is off, or is none: one sentence and exit status 2 by every command, before anything runs."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import prefect
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import server
from tasks.errors import UserError
from tests.support.ports import free_port
from tests.support.project import Project, make_project
from tests.support.results import one_sentence

HTML = (200, "text/html", "<html>welcome</html>")
JSON = "application/json"
COMMANDS = {
    "compare": (),
    "compare on a revision": ("--data-rev", "HEAD"),
    "finetune": ("head_only",),
    "retrain": (),
    "retrain, back": ("--rollback",),
    "export": ("--output", "exported"),
    "predict": ("photos",),
    "deployments": (),
    "automations": (),
}
Answers = dict[str, tuple[int, str, str]]


@contextmanager
def answering(answers: Answers, otherwise: tuple[int, str, str]) -> Iterator[str]:
    """Yield the address of a server that answers paths with a status, a kind and a text."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, text = answers.get(self.path, otherwise)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less long than users do."""
    monkeypatch.setattr(server, "SECONDS_TO_START", 0.6)
    monkeypatch.setattr(server, "SECONDS_BETWEEN_TRIES", 0.1)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which nothing runs."""
    made = make_project(tmp_path_factory.mktemp("servers") / "clone", Path("photos"))
    (made.root / "photos").mkdir()
    (made.root / "photos/one.png").touch()
    return made


def sentence(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what is said of an address that the environment has."""
    monkeypatch.setenv("PREFECT_API_URL", address)
    with temporary_settings({PREFECT_API_URL: address}), pytest.raises(UserError) as error:
        server.check_server()
    return str(error.value)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_that_it_is_off(project: Project, command: str) -> None:
    """It names the address and what to do, and nothing was run."""
    address = f"http://127.0.0.1:{free_port()}/api"
    module = command.partition(" ")[0].strip(",")
    said = one_sentence(done := project.here(f"flows.{module}", *COMMANDS[command], PREFECT_API_URL=address))
    assert done.returncode == 2
    assert address in said
    assert "start it" in said
    assert "unset PREFECT_API_URL" in said
    assert not (project.root / "data").exists()


def test_a_server_that_is_about_to_start_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What answers 503 at first, and is healthy a moment later, is used."""
    monkeypatch.setattr(server, "SECONDS_TO_START", 6.0)
    later: Answers = {"/api/admin/version": (200, JSON, f'"{prefect.__version__}"')}
    with answering(later, (503, "text/plain", "")) as address:
        threading.Timer(0.3, lambda: later.update({"/api/health": (200, JSON, "true")})).start()
        monkeypatch.setenv("PREFECT_API_URL", f"{address}/api")
        with temporary_settings({PREFECT_API_URL: f"{address}/api"}):
            server.check_server()


@pytest.mark.parametrize(
    ("answers", "otherwise", "path", "expected"),
    [
        ({}, HTML, "/api", ("text/html", "no Prefect server")),
        ({}, (404, "text/plain", ""), "/api", ("404", "no Prefect server")),
        ({"/api/health": (200, JSON, "true")}, HTML, "", ("text/html", "/api: write that address")),
        ({"/api/health": (200, JSON, "true")}, (404, JSON, "{}"), "/api/v2", ("404", "/api: write that address")),
        ({"/api/health": (200, JSON, "true")}, HTML, "/api", ("doesn't say its version",)),
        ({"/api/health": (200, JSON, "true")}, (401, JSON, "{}"), "/api", ("password", "PREFECT_API_AUTH_STRING")),
        ({}, (403, JSON, "{}"), "/api", ("password",)),
        ({}, (500, JSON, "{}"), "/api", ("error 500", "its log")),
        ({"/api/health": (200, JSON, "true")}, (200, JSON, '"2.20.4"'), "/api", ("Prefect 2.20.4", "this version")),
    ],
)
def test_what_answers_but_can_not_be_used(
    answers: Answers, otherwise: tuple[int, str, str], path: str, expected: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Each kind of it is told apart."""
    with answering(answers, otherwise) as address:
        said = sentence(address + path, monkeypatch)
        assert all(part in said for part in (address, *expected)), said


@pytest.mark.parametrize("address", ["127.0.0.1:4200/api", "localhost:4200", "htp://127.0.0.1:4200/api", "http://"])
def test_an_address_without_http(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to write is said."""
    assert "write 'http://" in sentence(address, monkeypatch)


def test_tls_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server without TLS that is asked by https."""
    with answering({}, HTML) as address:
        assert "TLS" in sentence(address.replace("http:", "https:"), monkeypatch)


def test_a_password_of_the_address_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the user nor the password."""
    said = sentence(f"http://somebody:secret@127.0.0.1:{free_port()}/api", monkeypatch)
    assert "secret" not in said
    assert "somebody" not in said


def test_a_profile_that_names_it(project: Project) -> None:
    """Where the environment doesn't name the server, the sentence says which profile does."""
    home = project.root / "home"
    home.mkdir()
    dead = f'active = "team"\n[profiles.team]\nPREFECT_API_URL = "http://127.0.0.1:{free_port()}/api"\n'
    (home / "profiles.toml").write_text(dead)
    done = project.run("python", "-m", "flows.compare", PREFECT_HOME=str(home))
    said = one_sentence(done)
    assert done.returncode == 2
    assert "profile 'team'" in said
    assert "prefect profile use ephemeral" in said


def test_without_a_server_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No address, no question."""
    monkeypatch.delitem(os.environ, "PREFECT_API_URL", raising=False)
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        server.check_server()
