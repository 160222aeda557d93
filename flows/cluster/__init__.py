"""A Ray cluster over which the strategies are spread.

Only the fine-tunings run on nodes, as plain functions of Ray: Prefect and DVC stay in the process that was started, so
that a node needs no Prefect server, and DVC has one writer.
"""
