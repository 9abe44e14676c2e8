"""A stream of rows from Parquet files whose embeddings are in .npy files, one beside the other."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import DatasetInfo, Features, IterableDataset, NamedSplit, SplitDict, SplitInfo, Value
from datasets.iterable_dataset import ArrowExamplesIterable

from conclip.embedding.embedding_files import parts_paths, read_parts
from conclip.errors import UsageError, one_line

ROWS_AT_A_TIME = 10_000


def numbered_stream(files: list[Path], embeddings: Path, column: str, split: str) -> IterableDataset:
    """
    Read Parquet files as a stream and number their rows as the embeddings are numbered.

    clip-retrieval writes such files: `metadata/metadata_0.parquet` beside `img_emb/img_emb_0.npy`, and so on.

    Args:
        files: Parquet files; the rows of each are those of the .npy file at the same position.
        embeddings: folder of .npy files in the order of their names, or one file.
        column: name of the column to add: the number of the row among all, as `EmbeddingColumn` takes it.
        split: name of the split.

    Raises:
        UsageError: a file cannot be read, or has another number of rows than its embeddings.
    """
    paths, counts = parts_paths(embeddings), [*map(len, read_parts(embeddings))]
    if len(files) != len(paths):
        raise UsageError(
            f"There are {len(files):,} Parquet files, but {len(paths):,} .npy files in --image_embeds_file "
            f"{embeddings}: a stream needs one for each, in the order of their names, or a column of row numbers "
            "(--image_embeds_column)."
        )
    for file, path, count in zip(files, paths, counts, strict=True):
        try:
            found = pq.ParquetFile(file).metadata.num_rows
        except (OSError, pa.ArrowException) as error:
            raise UsageError(f"{file} cannot be read as Parquet ({one_line(error)}): write it again.") from error
        if found != count:
            raise UsageError(
                f"{file} has {found:,} rows, but {path} has {count:,} embeddings: each row needs its embedding in the "
                "file at the same position."
            )
    starts = np.cumsum([0, *counts])[:-1].tolist()
    features = Features({**Features.from_arrow_schema(pq.read_schema(files[0])), column: Value("int64")})
    # With the number of rows, a run needs no --max_steps.
    splits = SplitDict()
    splits.add(SplitInfo(split, num_examples=sum(counts)))
    info = DatasetInfo(features=features, splits=splits)
    kwargs = {"files": [*map(str, files)], "starts": starts, "column": [column] * len(files)}
    return IterableDataset(ArrowExamplesIterable(numbered_tables, kwargs), info=info, split=NamedSplit(split))


def numbered_tables(files: list[str], starts: list[int], column: list[str]) -> Iterator[tuple[str, pa.Table]]:
    """
    Yield the rows of Parquet files with their numbers; `datasets` splits the lists by shards.

    Args:
        starts: the number of the first row of each file.
        column: name of the column of numbers, for each file.
    """
    for file, start, name in zip(files, starts, column, strict=True):
        for batch in pq.ParquetFile(file).iter_batches(ROWS_AT_A_TIME):
            table = pa.Table.from_batches([batch]).append_column(name, pa.array(np.arange(start, start + len(batch))))
            yield f"{file} {start}", table
            start += len(batch)
