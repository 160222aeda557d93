"""Where images come from: a source lists labelled files, and knows nothing of what happens to them.

``find`` is the way in. In the order in which files pass:

- ``fetching`` brings what isn't here yet: ``urls`` (by fsspec), ``torchvision_sets``, ``elpv`` (the packaged cells).
- ``dispatch`` has ``find``: it calls the source that the params name, checks what it lists, and cleans the labels.
  Where nothing can be listed, ``path_suggestions`` says what may be meant.
- ``listing`` has what every source gives: a ``SourceListing`` of ``LabelledFile`` and ``PassedOver``.
- ``folders`` lists a folder a class. It reads the tree (``folder_tree``), tells images from all else by their names
  (``file_kinds``), and splits from classes (``folder_layout``, by ``split_names``); ``passed_over`` and
  ``followed_links`` say what a person should know.
- ``tables`` lists a manifest with a row an image. ``table_discovery`` chooses the table in a folder, ``table_reading``
  reads it (``csv_tables`` with ``csv_dialects``, or ``parquet_tables``, as ``table_rows``), ``table_columns`` chooses
  its columns, and ``table_paths`` finds the files that its paths mean.
- ``archives`` lists either from within an archive, once ``archive_unpacking`` has unpacked it by ``archive_names``.
- ``label_spelling`` makes one class of labels that look the same; ``file_names`` makes names printable and checks that
  paths stay in their folder; ``grouping`` serves both.

To add a source, such as a JSON file of annotations: write a module with a function ``find`` that returns a
``SourceListing`` (``elpv`` is the smallest), add its name to ``DataParams.source``, and a case to ``dispatch.find`` and
``dispatch.READ_BY``; what all sources share, from clean labels to the store of pixels, follows by itself.
"""

from tasks.data.sources.dispatch import find
from tasks.data.sources.file_names import as_unicode
from tasks.data.sources.listing import UNLABELLED, LabelledFile, PassedOver, SourceListing

__all__ = ["UNLABELLED", "LabelledFile", "PassedOver", "SourceListing", "as_unicode", "find"]
