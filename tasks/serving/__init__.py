"""The winner in production: the champion's files, scores for new images, and exports for other runtimes.

- ``champion``: a folder of files, and what answers images from it.
- ``provenance``: the images that a champion was made from, kept beside it.
- ``scores``: a table of answers for a folder of images; ``encoded``: images that come as text.
- ``classifier_files``: any strategy's network as files, with the code that builds it.
- ``exports`` with ``runtimes`` and ``export_table``: ONNX and ``torch.export`` files, compared with the network.
"""
