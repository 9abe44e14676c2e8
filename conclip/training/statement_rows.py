"""The texts of negation distillation, composed anew in each epoch, with their targets."""

from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np
import torch
import xxhash
from accelerate import Accelerator
from datasets import Dataset

from conclip.data import require_columns, text_rows
from conclip.embedding.text_column import TextColumn
from conclip.embedding.tokens import TextTokenizer, TextTokens
from conclip.errors import UsageError
from conclip.negation.query import Query
from conclip.negation.recurring_things import recurring_things
from conclip.negation.statements import SHARES, Statement, StatementGenerator, words_of
from conclip.training.arguments import ConCLIPTrainingArguments
from conclip.training.image_truth import ImageTruth

# The base model embeds every caption that negation distillation uses.
MOST_CAPTIONS = 100_000
HELD_OUT_STATEMENTS = 2_000
# With `--own_words`.
LEAST_THINGS = 3


class StatementRows(torch.utils.data.Dataset):
    """
    Statements for `PairCollator`, which reads a whole batch at a time.

    A row depends only on the seed of the generator, the epoch and the index of the row, so all processes and a resumed
    run agree on it.

    Args:
        generator: composes the statement of an epoch and an index.
        tokenize: takes texts and returns their tokens.
        length: statements in an epoch.

    `first` is added to the index of each row; with a stream, where every process has its own rows, it differs.
    """

    first = 0

    def __init__(self, generator: StatementGenerator, tokenize: Callable[[list[str]], TextTokens], length: int):
        self.generator, self.tokenize, self.length = generator, tokenize, length
        self.targets: Callable[[Sequence[Query]], torch.Tensor] | None = None
        self.second_moment: torch.Tensor | None = None
        self.truth: ImageTruth | None = None
        self.epoch = 0

    def use_targets(self, targets: Callable[[Sequence[Query]], torch.Tensor], second_moment: torch.Tensor) -> None:
        """
        Args:
            targets: takes the queries of n statements and returns what the texts should be embedded as, float32,
                (n, d), unit rows.
            second_moment: float32, (d, d), the mean outer product of unit embeddings, see `loss_conclip`.
        """
        self.targets, self.second_moment = targets, second_moment

    def use_truth(self, truth: ImageTruth) -> None:
        """Let images teach the statements that are about things alone."""
        self.truth = truth

    def set_epoch(self, epoch: int) -> None:
        """Compose other statements from now on."""
        self.epoch = epoch

    def statements(self, indices: Sequence[int]) -> list[Statement]:
        return [self.generator(self.epoch, self.first + int(index)) for index in indices]

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
        queries = [statement.query for statement in statements]
        columns = {
            "statements": tokens[range(len(tokens))],
            "text_targets": self.targets(queries),
            "second_moment": self.second_moment,
        }
        if self.truth is not None:
            columns |= {"truth": self.truth(queries), "truth_image_embeds": self.truth.image_embeds}
        return columns


def make_statements(
    dataset: Dataset, args: ConCLIPTrainingArguments, tokenizer: TextTokenizer, accelerator: Accelerator
) -> StatementRows:
    """
    Return the statements to train on: as many an epoch as the dataset has captions.

    Raises:
        UsageError: a missing column or a blank text.
    """
    split = str(dataset.split or "train")
    texts, at = distinct_texts(dataset, args.caption_column, split)
    if len(at) > MOST_CAPTIONS:
        accelerator.print(
            f"Negation distillation uses {MOST_CAPTIONS:,} of the {len(at):,} captions, drawn with --seed {args.seed}."
        )
        at = at[np.sort(np.random.default_rng(args.seed).permutation(len(at))[:MOST_CAPTIONS])]
    captions = texts.pick(at)
    batch = args.per_device_train_batch_size * accelerator.num_processes
    options = own_words(captions, dataset, args, split) if args.own_words else {}
    generator = StatementGenerator(captions, seed=args.seed, **options)
    return StatementRows(generator, tokenizer, max(len(captions), batch))


def own_words(captions: list[str], dataset: Dataset, args: ConCLIPTrainingArguments, split: str) -> dict:
    """
    Return the options of a `StatementGenerator` that keeps to the things and words of captions and negated captions.

    Raises:
        UsageError: the captions name too few things again and again.
    """
    things = recurring_things(captions)
    if len(things) < LEAST_THINGS:
        raise UsageError(
            f"--own_words needs captions that name {LEAST_THINGS} things or more again and again; split {split!r} has "
            f"{len(things)}."
        )
    texts = captions
    if args.negated_caption_column in dataset.column_names:
        negated = text_rows(dataset, args.negated_caption_column, split, may_be_empty=True)
        texts = chain(captions, chain.from_iterable(negated))
    words = {word for text in texts for word in words_of(text)}
    # The parser that makes false captions would add a dependency; negated captions are such captions.
    shares = {kind: share for kind, share in SHARES.items() if kind != "false_caption"}
    return {"nouns": things, "words": words, "shares": shares}


def held_out_statements(
    dataset: Dataset, args: ConCLIPTrainingArguments, trained: StatementGenerator
) -> StatementGenerator:
    """Return a generator of statements on the captions of `dataset` and the things of another generator."""
    texts, at = distinct_texts(dataset, args.caption_column, str(dataset.split or "test"))
    captions = texts.pick(at[:HELD_OUT_STATEMENTS])
    return StatementGenerator(
        captions, nouns=trained.things(), seed=args.seed + 1, shares=trained.shares, words=trained.words
    )


def distinct_texts(dataset: Dataset, column: str, split: str) -> tuple[TextColumn, np.ndarray]:
    """Return the captions, and the index of the first of each distinct one, int64, ascending."""
    require_columns(dataset, {"--caption_column": column}, split)
    texts = TextColumn(dataset, column, split)
    digests = (xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")) for text in texts)
    _, first = np.unique(np.fromiter(digests, np.uint64, len(texts)), return_index=True)
    return texts, np.sort(first)
