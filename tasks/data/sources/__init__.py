"""Where images come from: a source lists labelled files, and knows nothing of what happens to them."""

from tasks.data.sources.dispatch import find
from tasks.data.sources.listing import SPLIT_FOLDERS, UNLABELLED, Found, LabelledFile, PassedOver, kept

__all__ = ["SPLIT_FOLDERS", "UNLABELLED", "Found", "LabelledFile", "PassedOver", "find", "kept"]
