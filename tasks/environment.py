"""The environment variables by which one process of a run tells another something; what DVC's say of experiments."""

import os
from pathlib import Path

DATA_REV = "THAWLINE_DATA_REV"  # the revision of the images as the user named it, where ``data.rev`` has its commit
NODE = "THAWLINE_NODE"  # the machine of a cluster that a process works on
EXPERIMENT = "DVC_EXP_NAME"  # set by DVC while it runs an experiment
WORKING_COPY = "DVC_ROOT"  # set by DVC: the root of the working copy in which its command was started


def working_copy() -> Path:
    """Return the folder that the user works in: the current one, but for an experiment that DVC runs in a copy of it.

    ``dvc exp run --temp`` and ``--queue`` do so, and remove the copy.
    """
    here, root = Path.cwd(), os.environ.get(WORKING_COPY, "")
    copy = next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), None)
    return Path(root) / here.relative_to(copy) if root and copy and EXPERIMENT in os.environ else here
