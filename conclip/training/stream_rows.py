"""Training rows from a stream, for data that do not fit the disk: one buffer of rows after another."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import torch
import xxhash
from accelerate import Accelerator
from datasets import Dataset, IterableDataset
from datasets.distributed import split_dataset_by_node

from conclip.data import require_columns
from conclip.embedding.embedding_column import EmbeddingColumn, holds_integers
from conclip.embedding.image_column import ImageColumn
from conclip.embedding.images import require_readable
from conclip.embedding.texts import cached_tokens
from conclip.embedding.tokens import TextTokenizer
from conclip.errors import UsageError
from conclip.stream import as_dataset, features_of, first_stream_rows, rows_of_stream, split_of, tables, typed
from conclip.training.arguments import DISTILLATION, ConCLIPTrainingArguments
from conclip.training.pair_rows import PairRows, make_pairs
from conclip.training.statement_rows import MOST_CAPTIONS, StatementRows

MOST_PARTS = 256


class RowStream:
    """
    The rows of one process, pass after pass without an end.

    Several processes share the shards of the stream, or if they do not divide them, its rows. Each pass reads the
    shards in another order.

    Args:
        dataset: the whole stream.
        rank, world: number of this process, and of all.
        seed: of the order of the shards.
    """

    def __init__(self, dataset: IterableDataset, rank: int, world: int, seed: int):
        self.features, self.split = features_of(dataset), split_of(dataset)
        self.rank, self.seed = rank, seed
        dataset = dataset.with_format("arrow")
        self.dataset = split_dataset_by_node(dataset, rank, world) if world > 1 else dataset
        self._begin(0, None)

    def _begin(self, finished: int, state: dict | None) -> None:
        """Begin a pass after so many others, or continue it from a state."""
        self._finished, self._state, self._offset = finished, state, 0
        # It shuffles the shards by this number.
        self.dataset.set_epoch(self.seed + finished)
        if state:
            self.dataset.load_state_dict(state)
        self._tables, self._table, self._is_empty = tables(self.dataset), None, not state

    def read(self, count: int) -> pa.Table:
        """
        Read the next rows.

        Raises:
            UsageError: the stream cannot be read, or has no row for this process.
        """
        parts = []
        while count:
            if self._table is None or self._offset == len(self._table):
                self._next_table()
            parts.append(self._table.slice(self._offset, count))
            self._offset += len(parts[-1])
            count -= len(parts[-1])
        table = pa.concat_tables(parts)
        # Looking up a row takes longer the more parts there are.
        return table.combine_chunks() if len(parts) > MOST_PARTS else table

    def _next_table(self) -> None:
        while True:
            if self._table is not None:
                self._state, self._offset = self.dataset.state_dict(), 0
            table = next(self._tables, None)
            self._table = table and typed(table, self.features, self.split)
            if self._table is not None:
                self._is_empty = False
                if self._offset < len(self._table):
                    return
            elif self._is_empty:
                raise UsageError(
                    f"The stream of the split {self.split!r} has fewer rows than there are processes: use fewer "
                    "processes."
                )
            else:
                self._begin(self._finished + 1, None)

    def position(self) -> dict:
        """Return where the next row is, ready for JSON."""
        return {"finished": self._finished, "state": self._state, "offset": self._offset}

    def seek(self, position: dict) -> None:
        """Continue from a position of the same stream."""
        self._begin(position["finished"], position["state"])
        self._offset = position["offset"]
        if self._offset:
            self._next_table()


class StreamRows(torch.utils.data.Dataset):
    """
    A stream as training rows for the training loop, which sees one buffer of rows at a time.

    Each buffer is a `PairRows`, so that rows, captions and batches are chosen in it as in an epoch of a dataset. A
    buffer always has the same number of rows: a row that contradicts itself is replaced by the next of the stream, and
    after the last row of the stream comes the first. So all processes have the same number of batches.

    Args:
        stream: the rows of this process.
        make_rows: makes training rows of the rows of a buffer.
        length: rows in a buffer.
        report: takes a sentence for the user.
    """

    def __init__(
        self,
        stream: RowStream,
        make_rows: Callable[[Dataset], PairRows],
        length: int,
        report: Callable[[str], object],
    ):
        self.stream, self.make_rows, self.length, self.report = stream, make_rows, length, report
        self.rows, self.epoch, self.statements = None, -1, None
        self._begun_at, self._reported = None, False

    def __getstate__(self) -> dict:
        """Return what the workers of a `DataLoader` need."""
        return {"rows": self.rows, "length": self.length}

    def set_epoch(self, epoch: int) -> None:
        """
        Read the buffer of this number, from 0: the next one, or after `seek` the one at that position.

        Raises:
            UsageError: the stream cannot be read, or a row cannot be used.
        """
        if epoch == self.epoch:
            return
        self._begun_at, self.epoch, self.rows = self.stream.position(), epoch, None
        self.rows = self._read()
        if self.statements is not None:
            self.rows.use_statements(self.statements)
        self.rows.set_epoch(epoch)

    def _read(self) -> PairRows:
        table, kept = self.stream.read(self.length), None
        while True:
            if kept is not None:
                table = pa.concat_tables([table.take(kept), self.stream.read(self.length - len(kept))])
            split = f"{self.stream.split}, buffer {self.epoch} of the stream"
            rows = self.make_rows(as_dataset(table, self.stream.features, split))
            for sentence in rows.use_keys(content_keys):
                if not self._reported:
                    self._reported = True
                    self.report(f"Warning: {sentence} The next rows replace them, here and in later buffers.")
            if len(rows) == self.length:
                return rows
            kept = rows.kept

    def position(self, epoch: int) -> dict:
        """
        Return where the buffer of this number begins in the stream, ready for JSON.

        Args:
            epoch: the buffer that was read last, or the one after it.
        """
        if epoch != self.epoch:
            return {**self.stream.position(), "digest": None}
        return {**self._begun_at, "digest": self._digest()}

    def _digest(self) -> str:
        return xxhash.xxh3_64_hexdigest(np.ascontiguousarray(self.rows.text_keys))

    def seek(self, position: dict, epoch: int) -> None:
        """
        Continue with a buffer.

        Args:
            position: of this buffer, from an earlier run.

        Raises:
            UsageError: the stream has other rows there than it had.
        """
        changed = UsageError(
            "The stream does not continue where the checkpoint was saved: its files have changed, or it is shuffled "
            "or mapped in batches before it is passed. Resume with the stream that the run started with."
        )
        try:
            self.stream.seek(position)
        # The state of a stream of other files or of another kind.
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise changed from error
        if position["digest"] is not None:
            self.set_epoch(epoch)
            if self._digest() != position["digest"]:
                raise changed

    def use_statements(self, statements: StatementRows) -> None:
        """Add a statement with its target to each row, for negation distillation beside the loss of pairs."""
        self.statements = statements
        # Every process has its own rows, and its own statements beside them.
        statements.first = self.stream.rank * self.length

    def keys(self) -> np.ndarray:
        """Return what the rows of the buffer hold, see `PairRows.keys`."""
        return self.rows.keys()

    @property
    def source_rows(self) -> str:
        """Return what stands for the number of rows."""
        return f"a stream in buffers of {self.length:,}"

    def description(self) -> str:
        """Return the size of a buffer in words."""
        return f"a stream in buffers of {self.length:,} rows for each process"

    def __len__(self) -> int:
        return self.length

    def __getitems__(self, indices: list[int]) -> dict:
        """Return the columns that `PairCollator` takes."""
        return self.rows.__getitems__(indices)


def prepare_stream(
    stream: IterableDataset, first: Dataset, args: ConCLIPTrainingArguments, accelerator: Accelerator
) -> tuple[ConCLIPTrainingArguments, Dataset]:
    """
    Check what training on a stream needs.

    Args:
        first: the first rows.

    Returns:
        The settings, with `max_steps`; and the rows whose captions negation distillation composes statements from.

    Raises:
        UsageError: a setting that needs all rows, or a run without a length.
    """
    if args.truth_weight:
        raise UsageError(
            "--truth_weight learns from all training images, which a stream does not hold: leave out --truth_weight, "
            "or train without a stream."
        )
    (option, column) = [*args.image_columns.items()][1]
    if args.image_embeds_file is None and column in first.column_names and holds_integers(first, column):
        raise UsageError(
            f"--{option} {column} holds numbers, but the rows of a stream have none: give images or embeddings."
        )
    if args.distills:
        columns = [args.caption_column, *([args.negated_caption_column] if args.own_words else [])]
        require_columns(first, {"--caption_column": args.caption_column}, str(stream.split or "train"))
        first = first_stream_rows(stream, MOST_CAPTIONS, columns)
        accelerator.print(f"Negation distillation uses the captions of the first {len(first):,} rows of the stream.")
    if args.loss != DISTILLATION and args.max_steps is None:
        length = rows_of_stream(stream)
        if length is None:
            raise UsageError("The stream does not say how many rows it has: add --max_steps.")
        batch = args.per_device_train_batch_size * accelerator.num_processes * args.gradient_accumulation_steps
        args = replace(args, max_steps=max(1, args.num_train_epochs * length // batch))
        accelerator.print(
            f"The stream has {length:,} rows: {args.num_train_epochs} epochs are {args.max_steps:,} updates."
        )
    return args, first


def make_stream_rows(
    stream: IterableDataset,
    args: ConCLIPTrainingArguments,
    columns: dict,
    tokenizer: TextTokenizer,
    accelerator: Accelerator,
) -> StreamRows:
    """
    Return the rows of a stream to train on.

    Args:
        columns: from `columns_of`.
    """
    world = accelerator.num_processes
    # An update averages whole batches.
    step = args.per_device_train_batch_size * args.gradient_accumulation_steps
    length = -(-args.shuffle_buffer_size // step) * step
    shards = stream.num_shards
    if shards % world:
        accelerator.print(
            f"The stream has {shards:,} shard(s), which {world} processes cannot share evenly: each reads all and "
            f"keeps one row in {world}. A multiple of {world} shards is read faster."
        )
    # The tokens are not cached: they would fill the disk.
    tokenize = cached_tokens(tokenizer, None, accelerator.print)

    def make_rows(dataset: Dataset) -> PairRows:
        nonlocal tokenize
        rows = make_pairs(dataset, args, columns, tokenize)
        # The texts of the first buffer are reported, for all.
        tokenize = tokenizer
        if columns["embeddings"]:
            rows.use_tensors("image_embeds", lambda images, _noun: images)
        return rows

    own = RowStream(stream, accelerator.process_index, world, args.seed)
    return StreamRows(own, make_rows, length, accelerator.print)


def content_keys(images: ImageColumn | EmbeddingColumn) -> np.ndarray:
    """
    Return the content keys of images of this process, uint8, (images, 16).

    Raises:
        UsageError: an image cannot be read, or an embedding is zero or not finite.
    """
    if isinstance(images, EmbeddingColumn):
        return images.keys()
    keys = images.stored.keys(0, len(images), show_progress=False)
    require_readable(images, keys)
    return keys
