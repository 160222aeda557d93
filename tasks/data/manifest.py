"""The manifest: one row an image, checked by pandera at every door."""

from pathlib import Path

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from tasks.data.pixels import ReadImage, fill_store, read_header
from tasks.data.sources import LabelledFile
from tasks.data.splits import SPLITS, assign
from tasks.errors import UserError
from tasks.files import replacing
from tasks.params import DataParams, SplitParams

GREY_MODES = {"1", "L", "I;16", "I;16B", "I;16L", "I;16N"}
SHA256 = r"[0-9a-f]{64}"

MANIFEST = pa.DataFrameSchema(
    {
        "path": pa.Column(str, pa.Check.str_length(min_value=1), unique=True),
        "label": pa.Column(str, pa.Check.str_length(min_value=1)),
        "split": pa.Column(str, pa.Check.isin(SPLITS)),
        "group": pa.Column(str),
        "width": pa.Column("int64", pa.Check.gt(0)),
        "height": pa.Column("int64", pa.Check.gt(0)),
        "mode": pa.Column(str, pa.Check.str_length(min_value=1)),
        "bytes": pa.Column("int64", pa.Check.gt(0)),
        "sha256": pa.Column(str, pa.Check.str_matches(f"^{SHA256}$")),
    },
    strict=True,
    ordered=True,
)

QUARANTINE = pa.DataFrameSchema(
    {
        "path": pa.Column(str, unique=True),
        "label": pa.Column(str),
        "reason": pa.Column(str, pa.Check.str_length(min_value=1)),
    },
    strict=True,
)


def checked(table: pd.DataFrame, schema: pa.DataFrameSchema, source: Path) -> pd.DataFrame:
    """Return ``table`` if it fits ``schema``.

    Raises:
        UserError: it doesn't; names the file, the column and up to three failing values.
    """
    try:
        valid: pd.DataFrame = schema.validate(table, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        column = next((c for c in cases["column"].dropna()), None) or cases["failure_case"].iloc[0]
        first = cases[cases["column"] == column] if (cases["column"] == column).any() else cases
        values = ", ".join(repr(value) for value in first["failure_case"].head(3))
        raise UserError(
            f"{source}: column '{column}' fails {first['check'].iloc[0]} ({len(cases)} failures in all, such as "
            f"{values}): make the file again with 'dvc repro'"
        ) from error
    return valid


def read_table(source: Path, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Read a parquet file and check it.

    Raises:
        UserError: the file is missing, is no parquet file, or doesn't fit the schema.
    """
    if not source.is_file():
        raise UserError(f"{source} does not exist: run 'dvc repro' to make it")
    try:
        table = pd.read_parquet(source)
    except (OSError, ValueError) as error:
        raise UserError(f"{source} is not a readable parquet file: remove it and run 'dvc repro'") from error
    return checked(table, schema, source)


def write_table(table: pd.DataFrame, schema: pa.DataFrameSchema, target: Path) -> None:
    """Check a table and write it as parquet, whole or not at all."""
    valid = checked(table, schema, target)
    with replacing(target) as temporary:
        valid.to_parquet(temporary, index=False)


def resolve_channels(params: DataParams, files: list[LabelledFile]) -> int:
    """Return 1 or 3: what params ask for, or, for ``auto``, 1 where every image is grey."""
    if params.channels != "auto":
        return params.channels
    root = Path(params.path)
    modes = {read_header(root / file.path) for file in files} - {""}
    return 1 if modes and modes <= GREY_MODES else 3


def build(
    files: list[LabelledFile], params: DataParams, split: SplitParams, channels: int, store: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read every file, fill the pixel store, and return the manifest and the quarantine.

    Row ``i`` of the manifest is row ``i`` of the store.

    Raises:
        UserError: more images than ``data.max_unreadable`` allows can't be read.
    """
    seen = fill_store(Path(params.path), [file.path for file in files], store, params.size, channels, params.max_pixels)
    rows = [(file, image) for file, image in zip(files, seen, strict=True) if not image.problem]
    bad = [(file.path, file.label, image.problem) for file, image in zip(files, seen, strict=True) if image.problem]
    if len(bad) > params.max_unreadable * len(files):
        raise UserError(
            f"{len(bad)} of {len(files)} files in {params.path} can't be used, more than data.max_unreadable "
            f"({params.max_unreadable:.0%}) allows; the first is {bad[0][0]} ({bad[0][2]})"
        )
    return _manifest(rows, split), pd.DataFrame(bad, columns=["path", "label", "reason"], dtype="str")


def _manifest(rows: list[tuple[LabelledFile, ReadImage]], split: SplitParams) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "path": [file.path for file, _ in rows],
            "label": [file.label for file, _ in rows],
            "split": assign(
                [image.sha256 for _, image in rows],
                [file.label for file, _ in rows],
                [file.split for file, _ in rows],
                split,
            ),
            "group": [file.group for file, _ in rows],
            "width": [image.width for _, image in rows],
            "height": [image.height for _, image in rows],
            "mode": [image.mode for _, image in rows],
            "bytes": [image.size for _, image in rows],
            "sha256": [image.sha256 for _, image in rows],
        }
    )
    text = ["path", "label", "split", "group", "mode", "sha256"]
    return table.astype(dict.fromkeys(text, "str"))
