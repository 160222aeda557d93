"""The working size as the stages behind ``prepare`` know it."""

from tasks import layout
from tasks.errors import UserError
from tasks.files import read_json
from tasks.params import DataParams


def working_size(params: DataParams) -> int:
    """Return the working size in pixels: that of the prepared images, where params leave it to them.

    Raises:
        UserError: they do, and no images are prepared.
    """
    if params.size != "auto":
        return params.size
    if not layout.WORKING_SIZE.is_file():
        raise UserError(f"{layout.WORKING_SIZE} does not exist: run 'dvc repro' to make it")
    return int(read_json(layout.WORKING_SIZE)["size"])
