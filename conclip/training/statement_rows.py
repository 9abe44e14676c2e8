"""The texts of negation distillation, composed anew in each epoch, with their targets."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from conclip.embedding.tokens import TextTokens
from conclip.negation.query import Query
from conclip.negation.statements import Statement, StatementGenerator


class StatementRows(torch.utils.data.Dataset):
    """
    Statements for `PairCollator`, which reads a whole batch at a time.

    A row depends only on the seed of the generator, the epoch and the index of the row, so all processes and a resumed
    run agree on it.

    Args:
        generator: composes the statement of an epoch and an index.
        tokenize: takes texts and returns their tokens.
        length: statements in an epoch.
    """

    def __init__(self, generator: StatementGenerator, tokenize: Callable[[list[str]], TextTokens], length: int):
        self.generator, self.tokenize, self.length = generator, tokenize, length
        self.targets: Callable[[Sequence[Query]], torch.Tensor] | None = None
        self.second_moment: torch.Tensor | None = None
        self.epoch = 0

    def use_targets(self, targets: Callable[[Sequence[Query]], torch.Tensor], second_moment: torch.Tensor) -> None:
        """
        Args:
            targets: takes the queries of n statements and returns what the texts should be embedded as, float32,
                (n, d), unit rows.
            second_moment: float32, (d, d), the mean outer product of unit embeddings, see `loss_conclip`.
        """
        self.targets, self.second_moment = targets, second_moment

    def set_epoch(self, epoch: int) -> None:
        """Compose other statements from now on."""
        self.epoch = epoch

    def statements(self, indices: Sequence[int]) -> list[Statement]:
        return [self.generator(self.epoch, int(index)) for index in indices]

    def keys(self) -> np.ndarray:
        """Return a different key for each row, uint64, (rows, 1): the loss compares no row with another."""
        return np.arange(self.length, dtype=np.uint64)[:, None]

    @property
    def source_rows(self) -> int:
        """Return how many rows there are in an epoch."""
        return self.length

    def description(self) -> str:
        """Return the size of an epoch in words."""
        return f"{self.length:,} statements an epoch from {len(self.generator.captions):,} captions"

    def __len__(self) -> int:
        return self.length

    def __getitems__(self, indices: list[int]) -> dict:
        """Return the columns that `PairCollator` takes."""
        statements = self.statements(indices)
        tokens = self.tokenize([statement.text for statement in statements])
        return {
            "statements": tokens[range(len(tokens))],
            "text_targets": self.targets([statement.query for statement in statements]),
            "second_moment": self.second_moment,
        }
