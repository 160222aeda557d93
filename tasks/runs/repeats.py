"""A strategy's fine-tunings: the first, with other seeds, on shares of the training split; each on every fold."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tasks.params import SharedParams, StrategyParams


@dataclass(frozen=True)
class Repeat:
    """One fine-tuning of a strategy.

    Attributes:
        seed: what is added to the strategy's.
        share: of the training split.
        fold: that is validated on, where images are divided into folds; the first fold's network is the strategy's.
    """

    seed: int = 0
    share: float = 1.0
    fold: int = 0

    @property
    def name(self) -> str:
        """What tells it from the strategy's other ones; empty for the first."""
        parts = {
            f"share-{self.share:g}": self.share < 1,
            f"seed-{self.seed}": self.seed,
            f"fold-{self.fold}": self.fold,
        }
        return "-".join(part for part, is_told in parts.items() if is_told)

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


def on_folds(repeat: Repeat, folds: int) -> list[Repeat]:
    """Return a fine-tuning as it is repeated for each of so many folds; 0: there are none."""
    return [replace(repeat, fold=fold) for fold in range(folds or 1)]


def repeats(shared: SharedParams, folds: int = 0) -> list[Repeat]:
    """Return all fine-tunings of a strategy; those behind the first need its outputs."""
    on_first_fold: Sequence[Repeat] = [FIRST, *further_seeds(shared), *smaller_shares(shared)]
    return [repeat for first in on_first_fold for repeat in on_folds(first, folds)]
