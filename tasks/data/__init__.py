"""Images: listed, read in full, labelled, split, and decoded once.

``tasks.steps.prepare`` calls these in the order in which images pass:

1. ``sources`` lists the labelled files; its docstring is a map of its own, and says how to add a source.
2. ``ingest`` opens each file once, in threads. ``reading`` checks it (``file_access``) and decodes it (``decoding``,
   with ``heif`` and ``grey_ranges``); what was seen is an ``image_facts.ImageFacts``. The pixels go to the ``store``
   by its ``store_writer``.
3. ``curation`` decides which files are used, in which split:
   ``quarantine`` (files that can't be), ``near_duplicates`` (by ``fingerprints`` of thumbnails, but for the shots of
   ``scenes``), ``groups`` (what belongs together), ``splits`` (with ``split_draws``, ``split_conflicts`` and
   ``split_completion``), ``folds``, and ``leaks`` between splits that the source gave. ``class_coverage`` brings every
   class into every split and fold.
4. ``manifest`` holds the tables that come of it, checked by pandera: manifest, quarantine and leaks. ``unlabelled`` has
   the table of images without a label.
5. ``quality`` counts all of it for a person; ``remarks`` and ``small_splits`` are the sentences.

``augmentation`` changes batches of images while a network trains.
"""
