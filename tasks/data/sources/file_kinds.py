"""What a file or a folder is, by its name: an image, or what programs and systems put beside images."""

from pathlib import PurePosixPath

SYSTEM, HIDDEN, SIDECAR, OTHER = "system files", "hidden files", "sidecar files", "other files"
IMAGE, UNKNOWN = "images", "files that only their content tells"

SYSTEM_FOLDERS = {
    "__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "recycler", "system volume information", "lost+found",
    "lost.dir", "found.000", ".trash", ".trashes", ".trash-1000", ".spotlight-v100", ".fseventsd", ".temporaryitems",
    ".documentrevisions-v100", ".appledouble", ".thumbnails", "@__thumb", ".@__thumb", ".picasaoriginals",
    ".ipynb_checkpoints", "__pycache__", ".git", ".dvc", ".svn", ".hg", ".idea", ".vscode",
}  # fmt: skip
SYSTEM_FILES = {
    "thumbs.db", "thumbs.db:encryptable", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", ".ds_store", ".localized",
    "icon\r", "icon_", ".directory", ".nomedia", ".picasa.ini", "picasa.ini", ".apdisk", ".volumeicon.icns",
    "zbthumbnail.info", "folder.ini", "autorun.inf", "synoindex", "syno_thumb",
}  # fmt: skip
APPLE_DOUBLE = "._"

# What claims to be an image, whether or not it can be read here.
IMAGES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp",
    ".avif", ".heic", ".heif", ".hif", ".jp2", ".j2k", ".jpf", ".jpx", ".jxl", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm",
    ".tga", ".pcx", ".ico", ".exr", ".hdr", ".psd", ".svg", ".eps", ".dcm", ".dicom",
}  # fmt: skip
RAW = {".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".dng", ".orf", ".raf", ".rw2", ".pef", ".x3f"}
SIDECARS = {
    ".txt", ".xml", ".json", ".jsonl", ".geojson", ".xmp", ".aae", ".pp3", ".csv", ".tsv", ".md", ".rst", ".yaml",
    ".yml", ".toml", ".thm", ".ini", ".cfg", ".conf", ".db", ".sqlite", ".sqlite3", ".log", ".html", ".htm", ".pdf",
    ".rtf", ".doc", ".docx", ".odt", ".xls", ".xlsx", ".ods", ".parquet", ".exif", ".icc", ".dop", ".lrcat", ".url",
    ".lnk", ".webloc", ".nfo", ".sfv", ".md5", ".sha1", ".sha256", ".tfw", ".jgw", ".pgw", ".wld", ".py", ".ipynb",
    ".sh", ".bat", ".bib", ".dvc", ".names", ".css", ".js",
}  # fmt: skip
SIDECAR_NAMES = {
    "readme", "license", "licence", "copying", "notice", "authors", "changelog", "citation", "credits", "about",
    "makefile", "md5sum", "md5sums", "sha1sums", "sha256sums", "checksums", "classes", "labels",
}  # fmt: skip


def folder_kind(name: str) -> str:
    """Return the kind of all files in a folder of that name, or nothing where each has its own."""
    if name.casefold() in SYSTEM_FOLDERS:
        return SYSTEM
    return HIDDEN if name.startswith(".") else ""


def file_kind(name: str) -> str:
    """Return the kind of a file of that name: ``IMAGE``, ``UNKNOWN``, or why it is passed over."""
    lowered = name.casefold()
    if lowered in SYSTEM_FILES or lowered.startswith(APPLE_DOUBLE):
        return SYSTEM
    if name.startswith("."):
        return HIDDEN
    suffix = PurePosixPath(lowered).suffix
    if suffix in IMAGES or suffix in RAW:
        return IMAGE
    return SIDECAR if suffix in SIDECARS or lowered in SIDECAR_NAMES else UNKNOWN


def is_original(name: str, stems: set[str]) -> bool:
    """Return whether a file is the camera's raw version of an image beside it, given the stems of those."""
    path = PurePosixPath(name)
    return path.suffix.casefold() in RAW and path.stem.casefold() in stems


def stems(names: list[str]) -> set[str]:
    """Return the stems of images that are no raw versions."""
    paths = [PurePosixPath(name) for name in names]
    return {path.stem.casefold() for path in paths if path.suffix.casefold() in IMAGES}
