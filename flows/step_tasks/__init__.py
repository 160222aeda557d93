"""The steps as Prefect tasks: each asks DVC whether its stage is current, runs its step if not, and records it.

Only names, paths and small frozen dataclasses pass between tasks.
"""
