"""What a retraining takes from elsewhere, and what it hands over: the newest images, and DVC's remote."""

from tasks.errors import UnavailableError, UserError
from tasks.versioning.repository import dvc_errors_as


def update(path: str) -> str:
    """Bring the newest version of what DVC tracks at a path: ``dvc update`` of an import, else ``dvc pull``.

    Images that are only in the working copy are never overwritten by ``dvc pull``.

    Raises:
        UserError: DVC tracks nothing there.
        UnavailableError: it could not be brought.
    """
    from dvc.exceptions import OutputNotFoundError
    from dvc.repo import Repo

    with dvc_errors_as(UnavailableError, f"the newest version of {path} could not be brought"), Repo() as repo:
        try:
            (out,) = repo.find_outs_by_path(path, strict=False)[:1]
        except OutputNotFoundError as error:
            raise UserError(
                f"retrain.update brings what DVC tracks, and it does not track {path}: run 'dvc add' or 'dvc import', "
                "or leave retrain.update out"
            ) from error
        stage = out.stage
        if stage.is_import or stage.is_repo_import:
            repo.update([stage.addressing])
            return f"{path}: updated from where it was imported"
        repo.pull([stage.addressing])
        return f"{path}: pulled"


def push() -> int:
    """Push what the stages of this working copy made, and the images, to DVC's remote; return the number of files.

    Raises:
        UnavailableError: there is no remote, or it can't be reached.
    """
    from dvc.repo import Repo

    with dvc_errors_as(UnavailableError, "DVC could not push"), Repo() as repo:
        return int(repo.push())
