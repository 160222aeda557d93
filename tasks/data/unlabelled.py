"""Images without a label: a row each, with the digest of its content."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pandera.pandas as pa

from tasks.files import sha256_of

SCHEMA = pa.DataFrameSchema(
    {
        "path": pa.Column(str, pa.Check.str_length(min_value=1), unique=True),
        "sha256": pa.Column(str),
    },
    strict=True,
    ordered=True,
)


def table(root: Path, paths: Sequence[str]) -> pd.DataFrame:
    """Return the images' paths and SHA-256; no digest where there is no such file.

    Args:
        root: the folder that the paths are relative to.
        paths: of the images.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = list(pool.map(_digest, [root / path for path in paths]))
    return pd.DataFrame({"path": pd.Series(paths, dtype="str"), "sha256": pd.Series(digests, dtype="str")})


def _digest(file: Path) -> str:
    return sha256_of(file) if file.is_file() else ""
