"""Images: read, checked, split, decoded."""

from tasks import layout
from tasks.data import manifest, sources, store
from tasks.data.curation import curate
from tasks.data.ingest import ingest
from tasks.data.quality import describe
from tasks.files import write_json
from tasks.params import load_params
from tasks.progress import counting


def prepare() -> list[str]:
    """Read, check, split and decode every image; return what a person should know of the data."""
    params = load_params(layout.PARAMS)
    found = sources.find(params.data, layout.WORK)
    paths = [file.path for file in found.files]
    with counting("reading images", len(paths)) as progress:
        ingested = ingest(found.root, paths, params.data, layout.PIXELS, layout.WORK / "ingest", progress)
    earlier = manifest.earlier(layout.MANIFEST, params.split)
    curated = curate(found.files, ingested, params.data, params.split, earlier)
    notes, lasting = [*found.notes, *curated.notes], [*found.notes, *curated.cautions]
    quality = describe(curated.table, curated.quarantine, curated.leaks, ingested.ranges, found.passed_over, lasting)
    store.move(ingested.store, layout.PIXELS)
    manifest.write_table(curated.table, manifest.MANIFEST, layout.MANIFEST)
    manifest.write_table(curated.quarantine, manifest.QUARANTINE, layout.QUARANTINE)
    manifest.write_table(curated.leaks, manifest.LEAKS, layout.LEAKS)
    write_json(layout.QUALITY, quality.model_dump(mode="json"))
    counts = ", ".join(f"{count} {split}" for split, count in curated.table["split"].value_counts().items())
    classes = curated.table["label"].nunique()
    return [*notes, f"{len(curated.table)} images of {classes} classes: {counts}"]
