"""Streams of rows (`datasets.IterableDataset`) as tables, and their first rows as a dataset."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
from datasets import Dataset, DatasetInfo, Features, IterableDataset
from datasets.table import InMemoryTable, table_cast

from conclip.errors import UsageError, one_line

ROWS_AT_A_TIME = 1_000
# Column that `datasets` adds to the rows of .tar files.
TAR_FILE = "__url__"
# Enough to see which columns have values.
SAMPLE = 100


def tables(dataset: IterableDataset) -> Iterator[pa.Table]:
    """
    Yield the rows of a stream in the format "arrow", with images as bytes and paths; no table is empty.

    `dataset.state_dict()` is then the state after the last table, and continues exactly there.

    Raises:
        UsageError: the stream cannot be read.
    """
    # A stream of Python objects, such as that of tar files, has rows whose columns differ in order, which `datasets`
    # cannot join to a table.
    count = ROWS_AT_A_TIME if dataset._ex_iterable.iter_arrow else 1
    last = ""
    try:
        for table in dataset.iter(batch_size=count):
            # That of a file without rows.
            if not len(table):
                continue
            if TAR_FILE in table.column_names:
                last = f"; the last row that was read is in {table[TAR_FILE][-1].as_py()}"
            yield table
    # `datasets` reports a damaged file or a lost connection by many kinds of errors.
    except Exception as error:
        raise UsageError(
            f"The stream of the split {split_of(dataset)!r} cannot be read ({one_line(error)}{last}): check its "
            "files, and if there is a checkpoint, continue with --resume_from_checkpoint latest."
        ) from error


def features_of(dataset: IterableDataset) -> Features:
    """
    Return the types of the columns of a stream; of JSON files, these are the types of the first rows.

    Raises:
        UsageError: the stream has no rows, or cannot be read.
    """
    if dataset.features is not None:
        return dataset.features
    for table in tables(dataset.with_format("arrow")):
        return Features.from_arrow_schema(table.schema)
    raise UsageError(f"The stream of the split {split_of(dataset)!r} has no rows.")


def typed(table: pa.Table, features: Features, split: str) -> pa.Table:
    """
    Return rows of a stream with the types of its columns.

    Raises:
        UsageError: a column is missing or of another type.
    """
    try:
        return table_cast(table.select(list(features)), features.arrow_schema)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"The stream of the split {split!r} has rows of other columns or types than its first "
            f"({one_line(error)}): give all files the same columns."
        ) from error


def as_dataset(table: pa.Table, features: Features, split: str) -> Dataset:
    """
    Return rows, as `typed` makes them, as a dataset in memory.

    The fields of a struct become columns, such as "json.text".
    """
    # Without a fingerprint, `datasets` would hash all the rows.
    info = DatasetInfo(features=features)
    return Dataset(InMemoryTable(table), info=info, split=split, fingerprint="stream").flatten()


def first_stream_rows(dataset: IterableDataset, count: int, columns: Sequence[str] | None = None) -> Dataset:
    """
    Read at most the first `count` rows of a stream into memory.

    Args:
        columns: names of columns; by default all.

    Raises:
        UsageError: the stream has no rows, or cannot be read.
    """
    features, split = features_of(dataset), split_of(dataset)
    if columns is not None:
        # A name may be that of a field of a struct.
        features = Features(
            {name: kind for name, kind in features.items() if {name, *_fields(name, kind)} & {*columns}}
        )
        dataset = dataset.select_columns(list(features))
    found, missing = [], count
    for table in tables(dataset.with_format("arrow")):
        found.append(typed(table, features, split).slice(0, missing))
        missing -= len(found[-1])
        if not missing:
            break
    if not found:
        raise UsageError(f"The stream of the split {split!r} has no rows.")
    return as_dataset(pa.concat_tables(found).combine_chunks(), features, split)


def _fields(name: str, kind) -> list[str]:
    return [f"{name}.{field}" for field in kind] if isinstance(kind, dict) else []


def split_of(dataset: IterableDataset) -> str:
    """Return the name of the split of a stream, for messages."""
    return str(dataset.split or "train")


def rows_of_stream(stream: IterableDataset) -> int | None:
    """Return the number of rows of a stream; `None` if it does not say."""
    split = (stream.info.splits or {}).get(str(stream.split or "train"))
    return (split and split.num_examples) or None
