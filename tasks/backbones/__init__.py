"""Pretrained networks: how each architecture is built and divided, and where its weights come from.

A network goes by ``backbone.name``; ``catalogue`` asks the library that has it for an ``Architecture``:

- ``architecture``: what every network is described by: head, input layer, parts, input statistics.
- ``library``, ``catalogue``: what a library of networks must be able to do, and the libraries that there are.
- ``torchvision_models`` with ``torchvision_families``: torchvision's, whose layers a table names.
- ``timm_models`` with ``timm_registry`` and ``timm_stages``: timm's.
- ``custom_module`` with ``local_imports``: the user's own code, a callable in a module.
- ``onnx_files`` with ``onnx_reading``, ``onnx_inputs``, ``onnx_graphs``, ``onnx_layers``, ``onnx_conversion``.
- ``from_callable``: what both of them make networks by.

The parts from the image to the logits (stem, stages, head) are stated or found out:

- ``stated_parts``: as ``backbone.parts`` of params.yaml states them.
- ``tracing``, ``discovery``: found out from the layers that run in a forward pass.
- ``division``: every parameter, buffer and leaf module is in exactly one part.

Weights are retrieved by ``weights``, in this order:

- ``downloads``: caches first, then the network; digests are verified before anything is read.
- ``weights_files``: the sets of tensors in a file, without running code that is in it.
- ``unwrapping``: the set that is the network's, and the prefix before its names.
- ``key_matching``: taken by name; what doesn't fit is an error or is reported.

To add a family of torchvision, add a row to ``torchvision_families.FAMILIES``. To add a library, write a module with
the functions of ``library.Library``, of which ``has`` and ``find`` are enough to begin with, and a row in
``catalogue.LIBRARIES``; a library that names no layers finds them out by ``tracing`` and ``discovery``.
"""
