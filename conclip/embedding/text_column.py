"""The texts of a dataset column as one flat sequence, for columns of more texts than fit in memory."""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
import pyarrow as pa
from datasets import Dataset

from conclip.data import TEXTS_AT_A_TIME, text_rows


class TextColumn(Sequence):
    """
    The texts of a column of texts, or of lists of texts, read from memory-mapped data on access.

    `texts[start:stop]` is a list of texts; `texts[index]` is one.

    Args:
        lengths: int64, (rows,), how many texts each row has.

    Raises:
        UsageError: see `text_lists`.
    """

    def __init__(self, dataset: Dataset, column: str, split: str):
        self.column, self._table = column, dataset.select_columns([column]).with_format("arrow")
        self.lengths = np.fromiter(map(len, text_rows(dataset, column, split)), np.int64, len(dataset))
        self._ends = np.cumsum(self.lengths)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if not isinstance(index, slice):
            at = range(len(self))[index]
            return self[at : at + 1][0]
        start, stop, step = index.indices(len(self))
        if step != 1 or stop <= start:
            return [self[at] for at in range(start, stop, step)]
        first, last = np.searchsorted(self._ends, [start, stop - 1], side="right").tolist()
        flat = chain.from_iterable(chunk_texts(chunk) for chunk in self._table[first : last + 1][self.column].chunks)
        before = int(self._ends[first] - self.lengths[first])
        return list(flat)[start - before : stop - before]

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), TEXTS_AT_A_TIME):
            yield from self[start : start + TEXTS_AT_A_TIME]

    def pick(self, indices: np.ndarray) -> list[str]:
        """Return the texts at some indices, int64, (n,), ascending."""
        found = []
        for start in range(0, len(self), TEXTS_AT_A_TIME):
            first, last = np.searchsorted(indices, [start, start + TEXTS_AT_A_TIME])
            if first < last:
                texts = self[start : start + TEXTS_AT_A_TIME]
                found += [texts[at - start] for at in indices[first:last].tolist()]
        return found


class JoinedTexts(Sequence):
    """Several sequences of texts as one; it takes the same indices as `TextColumn`."""

    def __init__(self, *parts: TextColumn):
        self.parts, self._starts = parts, np.cumsum([0, *map(len, parts)]).tolist()

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if not isinstance(index, slice):
            at = range(len(self))[index]
            return self[at : at + 1][0]
        start, stop, step = index.indices(len(self))
        if step != 1:
            return [self[at] for at in range(start, stop, step)]
        found = []
        for part, first in zip(self.parts, self._starts, strict=False):
            found += part[max(start - first, 0) : max(stop - first, 0)]
        return found

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self.parts)


def chunk_texts(chunk: pa.Array) -> list[str]:
    """Return the texts of an array of texts or of lists of texts."""
    return (
        chunk if pa.types.is_string(chunk.type) or pa.types.is_large_string(chunk.type) else chunk.flatten()
    ).to_pylist()
