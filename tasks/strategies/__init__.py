"""Ways of fine-tuning: what is replaced, what trains, when, and how fast.

A strategy is an entry below ``strategies`` of params.yaml, read as ``StrategyParams``; most new ones are that entry and
no code. ``assembly`` makes the network that it trains:

- ``surgery``: builds the network, loads the weights, and has it changed by
- ``stems``: another number of input channels,
- ``stages`` with ``graphs`` and ``blocks``: stages cut off and put in (``cut``, ``insert``),
- ``heads``: what answers for the new classes (``head``).
- ``adapters``: small layers of peft beside frozen ones (``adapters``).

What trains when is a plan that the training loop follows:

- ``selectors``: the words ``stem``, ``stages[2:]``, ``head``, ``all``.
- ``grouping``: names of parameters and buffers sorted into groups that thaw together (``groups``, ``only``).
- ``planning``: settings become phases with rates (``train``, ``phases``, ``gradual``, ``lr``, ``layer_decay``).
- ``freezing``: the plan itself, and the state that it brings a network into in an epoch.
- ``thaw_line``: the frozen front of a network, and what comes after it.

To add a kind of head, adapter or new stage, extend its params in ``tasks.params`` and the module above that reads them;
to add a way to decide what trains, extend ``grouping`` or ``planning``. ``tests/tasks/strategies/matrix.py`` lists the
strategies that are tried on every family of networks: a new one is a line there.
"""
