"""A strategy's fine-tunings: the first, with other seeds, and on shares of the training split."""

from dataclasses import dataclass

from tasks.params import SharedParams, StrategyParams


@dataclass(frozen=True)
class Repeat:
    """One fine-tuning of a strategy.

    Attributes:
        seed: what is added to the strategy's.
        share: of the training split.
    """

    seed: int = 0
    share: float = 1.0

    @property
    def name(self) -> str:
        """What tells it from the strategy's other ones; empty for the first."""
        if self.share < 1:
            return f"share-{self.share:g}"
        return f"seed-{self.seed}" if self.seed else ""

    def of(self, strategy: str) -> str:
        """Return a name for people."""
        return f"{strategy} {self.name}".rstrip()

    def settings(self, strategy: StrategyParams) -> StrategyParams:
        """Return a strategy with this seed."""
        seed = strategy.seed + self.seed * strategy.soup  # the members of a soup have seeds of their own
        return strategy.model_copy(update={"seed": seed})


FIRST = Repeat()


def further_seeds(shared: SharedParams) -> list[Repeat]:
    """Return the fine-tunings with other seeds than the first one."""
    return [Repeat(seed=seed) for seed in range(1, shared.seeds)]


def smaller_shares(shared: SharedParams) -> list[Repeat]:
    """Return the fine-tunings on less than the training split."""
    return [Repeat(share=share) for share in shared.shares]


def repeats(shared: SharedParams) -> list[Repeat]:
    """Return all fine-tunings of a strategy; those behind the first need its outputs."""
    return [FIRST, *further_seeds(shared), *smaller_shares(shared)]
