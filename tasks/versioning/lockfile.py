"""``dvc.lock``: read, and put back as it was before where DVC, which writes it in place, was killed meanwhile."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tasks import layout
from tasks.files import atomic_path

LOCKFILE = Path("dvc.lock")


def recorded_dependencies(stage: str) -> dict[str, str]:
    """Return the digest that is recorded of each dependency of a stage, by path; none before the stage ran."""
    if not LOCKFILE.is_file():
        return {}
    lock = _read(LOCKFILE) or {}
    dependencies: list[dict[str, Any]] = lock.get("stages", {}).get(stage, {}).get("deps", [])
    return {entry["path"]: entry.get("md5", "") for entry in dependencies}


def back_up() -> None:
    """Keep a copy of ``dvc.lock``, which nobody is writing."""
    if LOCKFILE.is_file():
        with atomic_path(layout.KEPT_LOCK) as temporary:
            shutil.copyfile(LOCKFILE, temporary)


def restore() -> str:
    """Put the copy back, or remove the file, if ``dvc.lock`` was cut short; return what was done, or nothing."""
    if not LOCKFILE.is_file() or _is_complete(LOCKFILE):
        return ""
    if layout.KEPT_LOCK.is_file() and _is_complete(layout.KEPT_LOCK):
        with atomic_path(LOCKFILE) as temporary:
            shutil.copyfile(layout.KEPT_LOCK, temporary)
        return "dvc.lock was cut short when DVC was killed: the one before it was put back"
    LOCKFILE.unlink()
    return "dvc.lock was cut short when DVC was killed, and removed: what it said of older results is lost"


def _is_complete(file: Path) -> bool:
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from ruamel.yaml.error import YAMLError
    from voluptuous import Invalid

    with suppress(YAMLError, Invalid, UnicodeDecodeError):
        COMPILED_LOCKFILE_SCHEMA(_read(file))
        return True
    return False


def _read(file: Path) -> Any:
    return YAML(typ="safe").load(file)
