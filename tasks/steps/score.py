"""A folder scored by the champion."""

from pathlib import Path

from tasks.errors import UserError
from tasks.files import replacing
from tasks.progress import counting

SUFFIXES = (".csv", ".parquet")
UNLIKE, UNUSABLE = "unlike the training's", "unusable"


def names_of(folder: Path, output: Path) -> list[str]:
    """Return the files of a folder that are to be scored, at any depth; hidden ones are left out.

    Raises:
        UserError: the folder has no files, one with a name that is not Unicode, or the table is of no known kind.
    """
    if output.suffix.lower() not in SUFFIXES:
        raise UserError(f"{output} is neither .csv nor .parquet: name the table that is to be written, with --output")
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: name the one that the images are in")
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    names = sorted(path.as_posix() for path in files if not any(part.startswith(".") for part in path.parts))
    if not names:
        raise UserError(f"{folder} has no files")
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{folder} has a file whose name is not Unicode, {name!a}: rename it") from error
    return names


def score_folder(folder: Path, output: Path, model: str = "") -> dict[str, int]:
    """Write what the champion says of every file of a folder; return how many images have which label.

    Args:
        folder: of image files.
        output: the table, .parquet or .csv.
        model: address of a champion in the registry; empty: the registered one.

    Raises:
        UserError: the folder has no files, the table is of no known kind, or there is no champion.
    """
    from tasks.serving.champion import Champion
    from tasks.serving.scores import score
    from tasks.steps.links import following_links
    from tasks.tracking import registry

    names = names_of(folder, output)
    champion = Champion.read(registry.folder_of(model or registry.champion_uri()))
    with counting("images scored", len(names)) as advance:
        table = score(following_links(champion, folder), folder, names, advance)
    with replacing(output) as temporary:
        if output.suffix.lower() == ".csv":
            table.to_csv(temporary, index=False)
        else:
            table.to_parquet(temporary, index=False)
    found = {str(label): int(count) for label, count in table["label"].value_counts().items()}
    return found | {UNLIKE: int(table["unlike"].sum()), UNUSABLE: int((table["problem"] != "").sum())}
