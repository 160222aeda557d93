"""Images scored by the champion."""

import glob
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.errors import UserError, listed
from tasks.files import atomic_path
from tasks.progress import counting, plain_console
from tasks.wording import enumerated, have

if TYPE_CHECKING:
    import pandas as pd

    Writer = Callable[["pd.DataFrame", Path], None]

WRITERS: "dict[str, Writer]" = {
    ".csv": lambda table, target: table.to_csv(target, index=False),
    ".tsv": lambda table, target: table.to_csv(target, index=False, sep="\t"),
    ".jsonl": lambda table, target: table.to_json(target, orient="records", lines=True, force_ascii=False),
    ".parquet": lambda table, target: table.to_parquet(target, index=False),
}
UNLIKE, UNUSABLE = "unlike the training's", "unusable"


@dataclass(frozen=True)
class Images:
    """Files that are to be scored.

    Attributes:
        root: the folder that all of them lie in: the one that was named, or the deepest that they share.
        names: of the files, relative to it, sorted.
    """

    root: Path
    names: list[str]


def must_be_written(output: Path) -> None:
    """Check that a table of such a name can be written.

    Raises:
        UserError: its ending is of no known kind.
    """
    if output.suffix.lower() not in WRITERS:
        what = "a spreadsheet, which is not written" if output.suffix.lower().startswith(".xls") else "of no known kind"
        raise UserError(f"--output {output} is {what}: let its name end in {enumerated(WRITERS, 'or')}")


def images_of(sources: Sequence[str], output: Path) -> Images:
    """Return the files that are to be scored.

    Args:
        sources: files; folders, whose files are taken at any depth, without hidden ones; and patterns such as
            ``photos/*.jpg``, where ``**`` stands for folders at any depth.
        output: the table that is written, which is not scored itself.

    Raises:
        UserError: one is not there or fits no file, a folder has no files, or a name is not Unicode.
    """
    tops, files = [], set[Path]()
    for source in sources:
        for path in _matches(source):
            tops.append(path if path.is_dir() else path.parent)
            files |= _files_of(path) if path.is_dir() else {path}
    files.discard(_placed(output))
    if not files:
        raise UserError(f"{listed(list(sources))} {have(len(sources))} no files")
    root = Path(os.path.commonpath(tops))
    names = sorted(path.relative_to(root).as_posix() for path in files)
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{root} has a file whose name is not Unicode, {name!a}: rename it") from error
    return Images(root, names)


def score_images(sources: Sequence[str], output: Path, model: str = "") -> dict[str, int]:
    """Write what the champion says of every file; return how many images have which label.

    Args:
        sources: files, folders and patterns.
        output: the table, of a kind that its name's ending says.
        model: address of a champion in the registry; empty: the registered one.

    Raises:
        UserError: there are no files, the table is of no known kind, or there is no champion.
    """
    from tasks.runs.links import following_links
    from tasks.serving.champion import Champion
    from tasks.serving.scores import score
    from tasks.tracking import registry

    must_be_written(output)
    images = images_of(sources, output)
    champion = Champion.read(registry.folder_of(model or registry.champion_uri()))
    with counting("files read", len(images.names)) as advance:
        table = score(following_links(champion, images.root), images.root, images.names, advance)
    with atomic_path(output) as temporary:
        WRITERS[output.suffix.lower()](table, temporary)
    counts = {str(label): int(count) for label, count in table["label"].value_counts().items()}
    unusable = int((table["problem"] != "").sum())
    if unusable:
        plain_console().print(f"{unusable} of {len(table)} files can't be scored: see the column problem")
    return counts | {UNLIKE: int(table["unlike"].sum()), UNUSABLE: unusable}


def _matches(source: str) -> list[Path]:
    """Return the files and folders that a text names: the path itself, or what fits it as a pattern."""
    path = Path(source).expanduser()
    if path.exists():
        return [_placed(path)]
    matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - a pattern may be absolute
    if not matches:
        what = "no file fits" if glob.has_magic(source) else "there is no file and no folder"
        raise UserError(f"{what} {source}: name images, folders of images, or patterns such as 'photos/*.jpg'")
    return [_placed(Path(match)) for match in matches]


def _placed(path: Path) -> Path:
    """Return an absolute path; a file that is a link stays one."""
    return path.resolve() if path.is_dir() else path.parent.resolve() / path.name


def _files_of(folder: Path) -> set[Path]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)}
