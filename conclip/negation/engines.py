"""
Negate captions in Ray Data, Spark, or any engine that gives batches as Arrow tables or pandas frames.

A function of this module takes a batch as an Arrow table and returns one, so that Ray runs it by
`map_batches(function, batch_format="pyarrow", fn_kwargs={...})`. `in_pandas(function, ...)` is the same for Spark's
`mapInPandas`. No result depends on where the captions are cut into batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from conclip.negation.grammar.generator import GrammarGenerator
from conclip.negation.lexicon.counts import NameCounts
from conclip.negation.negator import CaptionNegator, check_indices, count_pairs, name_objects, parse_texts
from conclip.negation.rows import features

if TYPE_CHECKING:
    import pandas as pd

OBJECTS = "objects"
COUNTS = "counts"
# Of the columns that `conclip negate` writes: the caption is there, and the others say where in its files it was.
NOT_MADE = {"caption", "source_row", "source_caption"}


def add_objects(table: pa.Table, caption_column: str = "caption", index_column: str = "index") -> pa.Table:
    """
    Add the column "objects": what each caption names, lists of texts. The counts below read it.

    Raises:
        UsageError: an index is no integer of at least 0, or a caption is no text.
    """
    captions, indices = table[caption_column].to_pylist(), _indices(table, index_column)
    objects = name_objects(parse_texts(GrammarGenerator(), captions, indices))
    return _with_columns(table, {OBJECTS: pa.array(objects, pa.list_(pa.string()))})


def batch_name_counts(table: pa.Table) -> pa.Table:
    """Count the names of a batch with the column "objects": one row, `NameCounts` as JSON in the column "counts"."""
    return pa.table({COUNTS: [NameCounts.count(table[OBJECTS].to_pylist()).to_json()]})


def batch_pair_counts(
    table: pa.Table, names: NameCounts, caption_column: str = "caption", index_column: str = "index"
) -> pa.Table:
    """
    Count the pairs of names of a batch with the column "objects": one row, `PairCounts` as JSON in "counts".

    Args:
        names: `NameCounts.commonest` of the names of all batches.

    Raises:
        UsageError: an index is no integer of at least 0.
    """
    captions, indices = table[caption_column].to_pylist(), _indices(table, index_column)
    counts = count_pairs(names, captions, table[OBJECTS].to_pylist(), indices)
    return pa.table({COUNTS: [counts.to_json()]})


def negate(table: pa.Table, negator: CaptionNegator) -> pa.Table:
    """
    Add the text columns that `CaptionNegator` makes.

    Args:
        negator: has an `index_column`.

    Raises:
        UsageError: an index is no integer of at least 0, or a caption is no text.
    """
    columns = (negator.caption_column, negator.index_column)
    made = negator({name: table[name].to_pylist() for name in columns if name is not None})
    # A batch may be empty.
    return _with_columns(table, {name: pa.array(made.get(name, []), of) for name, of in _made_columns().items()})


def in_pandas(function: Callable[..., pa.Table], **options) -> Callable[[Iterable[pd.DataFrame]], Iterator]:
    """
    Turn a function of this module into one for Spark's `mapInPandas`.

    Args:
        options: passed to the function with each batch.
    """
    return partial(_map_frames, function, options)


def _map_frames(function: Callable[..., pa.Table], options: dict, frames: Iterable[pd.DataFrame]) -> Iterator:
    for frame in frames:
        yield function(pa.Table.from_pandas(frame, preserve_index=False), **options).to_pandas()


def spark_schema(frame) -> str:
    """Return the schema of a Spark frame of captions to which `negate` has added its columns."""
    made = _made_columns()
    kept = {field.name: field.dataType.simpleString() for field in frame.schema if field.name not in made}
    columns = {**kept, **{name: _spark_type(of) for name, of in made.items()}}
    return ", ".join(f"`{name}` {of}" for name, of in columns.items())


def _indices(table: pa.Table, column: str) -> list[int]:
    return check_indices(table[column].to_pylist(), column)


def _made_columns() -> dict[str, pa.DataType]:
    schema = features(with_images=False).arrow_schema
    return {field.name: field.type for field in schema if field.name not in NOT_MADE}


def _spark_type(of: pa.DataType) -> str:
    return f"array<{_spark_type(of.value_type)}>" if pa.types.is_list(of) else {"int32": "int"}.get(str(of), str(of))


def _with_columns(table: pa.Table, columns: dict[str, pa.Array]) -> pa.Table:
    kept = [name for name in table.column_names if name not in columns]
    return pa.table({**{name: table[name] for name in kept}, **columns})
