"""A function a stage: reads files, calls the rooms below, writes files, tracks. Knows no orchestrator.

Every path is relative to the root of the repository, in which the process must run. A module a stage, so that each
imports only what it uses.
"""
