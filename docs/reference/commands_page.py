"""The page of the commands: what each does, and its arguments, as its ``--help`` says."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
import typer.main

import flows
from docs.reference.markdown import block, code, join, table
from tasks.__main__ import app as steps

INTRODUCTION = """\
Every command runs at the root of the repository, and has `--help`. Its exit status is 0 when all went well, 2 after a
mistake that one sentence names, and 130 or 143 when Ctrl-C or SIGTERM ended it."""

ENTRY = 'if __name__ == "__main__":'


def page() -> str:
    """Return the page."""
    return join(["# Commands", INTRODUCTION, *_flows(), *_steps()])


def _flows() -> Iterator[str]:
    yield "## python -m flows"
    for file in sorted(Path(flows.__path__[0]).glob("*.py")):
        if ENTRY in file.read_text(encoding="utf-8"):
            app = typer.Typer(add_completion=False)
            app.command()(importlib.import_module(f"flows.{file.stem}").main)
            yield from _command(f"python -m flows.{file.stem}", typer.main.get_command(app))


def _steps() -> Iterator[str]:
    yield "## python -m tasks"
    group = typer.main.get_group(steps)
    yield group.help or ""
    for name, command in group.commands.items():
        yield from _command(f"python -m tasks {name}", command)


def _command(call: str, command: Any) -> Iterator[str]:
    context = typer.Context(command, info_name=call)
    yield f"### {call}"
    yield " ".join((command.help or "").split())
    yield block("text", " ".join([call, *command.collect_usage_pieces(context)]))
    records = [parameter.get_help_record(context) for parameter in command.params]
    rows = [(code(name), " ".join(meaning.replace("*", r"\*").split())) for name, meaning in filter(None, records)]
    yield table(("argument", "meaning"), rows) if rows else ""
