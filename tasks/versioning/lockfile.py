"""``dvc.lock``, which DVC writes in place: where it was killed meanwhile, the one before it is put back."""

import shutil
from contextlib import suppress
from pathlib import Path

from tasks import layout
from tasks.files import atomic_path

LOCK = Path("dvc.lock")


def keep() -> None:
    """Keep a copy of ``dvc.lock``, which nobody is writing."""
    if LOCK.is_file():
        with atomic_path(layout.KEPT_LOCK) as temporary:
            shutil.copyfile(LOCK, temporary)


def mend() -> str:
    """Put the copy back, or remove the file, if ``dvc.lock`` was cut short; return what was done, or nothing."""
    if not LOCK.is_file() or _is_whole(LOCK):
        return ""
    if layout.KEPT_LOCK.is_file() and _is_whole(layout.KEPT_LOCK):
        with atomic_path(LOCK) as temporary:
            shutil.copyfile(layout.KEPT_LOCK, temporary)
        return "dvc.lock was cut short when DVC was killed: the one before it was put back"
    LOCK.unlink()
    return "dvc.lock was cut short when DVC was killed, and removed: what it said of older results is lost"


def _is_whole(file: Path) -> bool:
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
    from voluptuous import Invalid

    with suppress(YAMLError, Invalid, UnicodeDecodeError):
        COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(file))
        return True
    return False
