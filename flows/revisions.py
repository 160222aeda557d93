"""The comparison on an older revision of the images, in a clone: the working copy stays as it is."""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError
from ruamel.yaml import YAML

from tasks import layout, stopping, versioning
from tasks.environment import DATA_REV
from tasks.errors import UserError
from tasks.params import DataParams, Params, load_params

REVISIONS = layout.WORK / "revisions"
SECONDS_BETWEEN_LOOKS, SECONDS_TO_STOP = 0.5, 30.0


def compare_at(rev: str, *, force: bool) -> int:
    """Compare the strategies on the images as they were at a git revision, and return the exit status.

    The code is that of the last commit, the params are those of the working copy, and so are DVC's cache and MLflow's
    store. What is current there is skipped.

    Raises:
        UserError: git doesn't know the revision, the images were not tracked then, or they are not tracked at all.
    """
    params = load_params()
    place = prepared_clone(rev, params)
    command = [sys.executable, "-m", "flows.compare", *(["--force"] if force else [])]
    status = _status(command, place, _environment(rev))
    if status == 0:
        typer.echo(f"thawline: report of the revision {rev}: {place / layout.REPORT}")
    return status


def _status(command: list[str], place: Path, environment: dict[str, str]) -> int:
    """Return a command's exit status; it stops with this process, and is waited for."""
    with subprocess.Popen(command, cwd=place, env=environment) as running:
        try:
            while running.poll() is None and not stopping.is_asked():
                with suppress(subprocess.TimeoutExpired):
                    running.wait(SECONDS_BETWEEN_LOOKS)
            if stopping.is_asked():
                running.terminate()
            return running.wait()
        except KeyboardInterrupt:  # which the command was sent by the terminal, too
            running.wait(SECONDS_TO_STOP)
            raise
        except BaseException:
            running.terminate()
            raise


def prepared_clone(rev: str, params: Params) -> Path:
    """Return a clone whose params read the images of a revision.

    Raises:
        UserError: git doesn't know the revision, or the images were not tracked then.
    """
    data = params.data
    if data.fetched and not data.rev:
        raise UserError(
            f"--data-rev reads older versions of images that this repository tracks, but {data.path} is fetched from "
            "elsewhere: put the images into the repository ('dvc add'), with source folder, manifest or archive"
        )
    commit = versioning.commit_of(rev)
    then = _data_at(commit, data)
    versioning.digest_at(rev, then.tracked)
    place = REVISIONS / commit[:12]
    versioning.clone(place)
    if changed := [name for name in versioning.changed_files() if name.endswith((".py", "dvc.yaml"))]:
        typer.echo(f"thawline: the code is that of the last commit, without the changes of {', '.join(changed)}")
    _write_params(place, commit, params)
    _stand_in(place / then.tracked, place / layout.FETCHED / then.fetched)
    if not (place / then.tracked).is_symlink():  # through which a table in it is reached
        _stand_in(place / then.path, place / then.root)
    layout.ENGINES.mkdir(parents=True, exist_ok=True)
    _stand_in(place / layout.ENGINES, layout.ENGINES)  # a machine is measured once, so that it answers alike in both
    if layout.MANIFEST.is_file() and not (place / layout.MANIFEST).exists():  # images keep the splits they have here
        (place / layout.MANIFEST).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(layout.MANIFEST, place / layout.MANIFEST)
    return place


def _data_at(commit: str, data: DataParams) -> DataParams:
    try:
        return DataParams.model_validate({**data.model_dump(), "rev": commit})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UserError(f"--data-rev: {reason}") from error


def _write_params(place: Path, commit: str, params: Params) -> None:
    yaml = YAML()
    content: Any = yaml.load(layout.PARAMS)
    content["data"]["rev"] = commit
    sections = {"": content.get("backbone"), **(content.get("backbones") or {})}
    for name, network in params.networks.items():
        if Path(network.weights).is_file():
            sections[name]["weights"] = str(Path(network.weights).absolute())
    with (place / layout.PARAMS).open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)


def _stand_in(path: Path, other: Path) -> None:
    """Let a path of the clone be another one: what DVC wants to be there is what is fetched."""
    if not os.path.lexists(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(os.path.relpath(other, path.parent))


def _environment(rev: str) -> dict[str, str]:
    """Return this environment for a process elsewhere: with MLflow's store of this folder, and its experiment made."""
    from tasks import tracking

    tracking.experiment_id()
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT__")}
    return inherited | {"MLFLOW_TRACKING_URI": tracking.absolute_uri(), DATA_REV: rev}
