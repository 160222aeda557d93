"""Policy only: short flows that say when and where the steps run."""

from flows import environment  # before anything imports Prefect

__all__ = ["environment"]
