"""Images: read, checked, split, decoded."""

from dataclasses import replace
from pathlib import Path

from tasks import layout
from tasks.data import manifest, remarks, sources, store
from tasks.data.curation import curate
from tasks.data.ingest import ingest
from tasks.data.quality import describe
from tasks.data.working_size import resolve_size
from tasks.environment import working_copy
from tasks.files import write_json
from tasks.params import load_params
from tasks.progress import counting, during, plain_console
from tasks.runs import unlabelled
from tasks.runs.estimates import first_words
from tasks.runs.links import links_to


def prepare() -> list[str]:
    """Read, check, split and decode every image; return what a person should know of the data."""
    params = load_params(layout.PARAMS)
    with during("looking for the images"):
        listed = sources.find(params.data, layout.WORK)
    paths = [file.path for file in listed.files]
    links = links_to(listed.root, params.data)
    data = params.data.sized(resolve_size(listed.root, paths, params.data, links))
    plain_console().print(first_words(params, len(paths), data.side))
    with counting("reading images", len(paths)) as progress:
        ingested = ingest(listed.root, paths, data, _earlier_pixels(), layout.WORK / "ingest", progress, links)
    earlier = manifest.read_earlier(layout.MANIFEST, params.split)
    files = [replace(file, path=sources.as_unicode(file.path)) for file in listed.files]
    with during("looking for images that show the same, and dividing them"):
        curated = curate(files, ingested, params.data, params.split, earlier)
    understood = [*listed.notes, *remarks.on_frames([file.path for file in files], ingested.images), *ingested.notes]
    notes, lasting = [*understood, *curated.notes], [*understood, *curated.cautions]
    quality = describe(curated.table, curated.quarantine, curated.leaks, ingested.ranges, listed.passed_over, lasting)
    store.move(ingested.store, layout.PIXELS)
    manifest.write_table(curated.table, manifest.MANIFEST, layout.MANIFEST)
    manifest.write_table(curated.quarantine, manifest.QUARANTINE, layout.QUARANTINE)
    manifest.write_table(curated.leaks, manifest.LEAKS, layout.LEAKS)
    unlabelled.record(listed)
    write_json(layout.WORKING_SIZE, {"size": data.side})
    write_json(layout.QUALITY, quality.model_dump(mode="json"))
    counts = ", ".join(f"{count} {split}" for split, count in curated.table["split"].value_counts().items())
    classes = curated.table["label"].nunique()
    chosen = " (data.size: auto)" if params.data.size == "auto" else ""
    return [*notes, f"{len(curated.table)} images of {classes} classes at {data.side} pixels{chosen}: {counts}"]


def _earlier_pixels() -> Path:
    """Return the store that may have decoded images; DVC's copy of the working copy begins without one."""
    return layout.PIXELS if layout.PIXELS.is_file() else working_copy() / layout.PIXELS
