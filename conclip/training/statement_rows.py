"""The texts of negation distillation, composed anew in each epoch, with their targets."""

from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset

from conclip.data import require_columns, text_lists
from conclip.embedding.tokens import TextTokenizer, TextTokens
from conclip.negation.query import Query
from conclip.negation.statements import Statement, StatementGenerator
from conclip.training.arguments import ConCLIPTrainingArguments

# The base model embeds every caption that negation distillation uses.
MOST_CAPTIONS = 100_000
HELD_OUT_STATEMENTS = 2_000


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


def make_statements(
    dataset: Dataset, args: ConCLIPTrainingArguments, split: str, tokenizer: TextTokenizer, accelerator: Accelerator
) -> StatementRows:
    """
    Return the statements to train on: as many an epoch as the dataset has captions.

    Raises:
        UsageError: a missing column or a blank text.
    """
    captions = distinct_captions(dataset, args.caption_column, split)
    if len(captions) > MOST_CAPTIONS:
        accelerator.print(
            f"Negation distillation uses {MOST_CAPTIONS:,} of the {len(captions):,} captions, drawn with --seed "
            f"{args.seed}."
        )
        chosen = np.random.default_rng(args.seed).permutation(len(captions))[:MOST_CAPTIONS]
        captions = [captions[at] for at in sorted(chosen.tolist())]
    batch = args.per_device_train_batch_size * accelerator.num_processes
    generator = StatementGenerator(captions, seed=args.seed)
    return StatementRows(generator, tokenizer, max(len(captions), batch))


def held_out_statements(
    dataset: Dataset, args: ConCLIPTrainingArguments, split: str, trained: StatementGenerator
) -> StatementGenerator:
    """Return a generator of statements on the captions of `dataset` and the things of another generator."""
    captions = distinct_captions(dataset, args.caption_column, split)[:HELD_OUT_STATEMENTS]
    return StatementGenerator(captions, nouns=trained.things(), seed=args.seed + 1)


def distinct_captions(dataset: Dataset, column: str, split: str) -> list[str]:
    require_columns(dataset, {"--caption_column": column}, split)
    return list(dict.fromkeys(chain.from_iterable(text_lists(dataset, column, split))))
