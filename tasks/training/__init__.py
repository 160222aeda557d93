"""Training: what happens between a network with a plan and the weights that are kept.

A reader starts with ``loop.fit``, which is given a ``job`` and asks the others in turn:

- how it is computed: ``device``, ``parallel`` (one process, replicas, or slices of the network; ``distributed``,
  ``sharding`` and ``synchronised`` are what these stand on), ``forward_passes`` (``folding``, ``depthwise``,
  ``activation_checkpointing``, all by ``patching``), ``precision``;
- what the network is given: ``inputs`` of an epoch, from ``batches``, ``views``, ``resolution``, or what a
  ``frozen_trunk`` answered, which the ``feature_cache`` takes from the ``activations`` on the disk;
- what a step does: ``gradients``, ``optim``, ``l2_sp``; ``solving`` takes the place of all steps of a linear head;
- what changes: ``state`` (``model_state``, ``averaging``), which ``resuming`` keeps in ``checkpoints``.

``averaged_fits`` runs the loop once or several times and averages weights, ``measuring`` runs before it, ``inference``
(``tta``), ``features`` and ``domain`` ask a network without training it, ``progress`` shows how far things are.
"""
