"""Ready embeddings of images, in place of the images of a dataset column."""

import numpy as np
import pyarrow as pa
import torch
import xxhash
from datasets import Dataset

from conclip.data import source_row
from conclip.embedding.image_hashes import KEY_BYTES
from conclip.errors import UsageError

ROWS_AT_A_TIME = 4_096
# A float32 row whose length differs from 1 by less is not normalised again, so that it keeps its bits.
UNIT_TOLERANCE = 1e-6


class EmbeddingColumn:
    """
    The image embeddings of a column as one flat sequence, read on access from memory-mapped data.

    `embeds[index]` takes any index of one array axis (integer, slice, list, array, tensor) and returns float32, (n, d)
    or, for an integer, (d,): unit rows on the CPU.

    Args:
        column: name of a column of vectors of float16, float32 or float64; or, with `parts`, of numbers of rows.
        split: name of the split, for messages.
        parts: the embeddings that the numbers count, from 0: (n, d) each, as `read_parts` returns them.
        rows: int64, (images,), ascending: the row of each image; by default every row holds one image.
        places: int64, (images,), for a column of lists: the position of each image in the list of its row.

    Raises:
        UsageError: the column holds something else, or vectors of different widths.
    """

    def __init__(
        self,
        dataset: Dataset,
        column: str,
        split: str,
        parts: list[np.ndarray] | None = None,
        rows: np.ndarray | None = None,
        places: np.ndarray | None = None,
    ):
        self.dataset, self.column, self.split, self._keys = dataset, column, split, None
        self.rows = np.arange(len(dataset)) if rows is None else rows
        at = self.rows
        if dataset._indices is not None:
            at = dataset._indices.column(0).to_numpy()[at].astype(np.int64)
        chunks = [chunk for chunk in dataset.data.column(column).chunks if len(chunk)]
        # Of each row, where its values end among those of all rows.
        ends = np.arange(1, sum(map(len, chunks)) + 1)
        if places is not None:
            lengths = np.concatenate([np.diff(_offsets(chunk)) for chunk in chunks])
            ends = np.cumsum(lengths)
            at = (ends - lengths)[at] + places
            chunks = [chunk for chunk in (chunk.flatten() for chunk in chunks) if len(chunk)]
        if parts is None:
            self.parts, self.at = self._matrices(chunks, ends), at
        else:
            self.parts, self.at = parts, self._numbers(pa.chunked_array(chunks), at, sum(map(len, parts)))
        self._starts = np.cumsum([0, *map(len, self.parts)])
        self.width = self.parts[0].shape[1]

    def _matrices(self, chunks: list[pa.Array], ends: np.ndarray) -> list[np.ndarray]:
        """Return the vectors of each chunk as (n, d), a view of its memory."""
        kind = chunks[0].type
        if not _is_list(kind) or not pa.types.is_floating(kind.value_type):
            raise UsageError(
                f"Split {self.split!r}: {self.column} holds {kind}; it has to hold embeddings, lists of floats."
            )
        matrices, first, width = [], 0, int(np.diff(_offsets(chunks[0]))[0])

        def require(fine: np.ndarray, says: str) -> None:
            for index in np.flatnonzero(~fine)[:1].tolist():
                row = np.searchsorted(ends, first + index, side="right")
                raise UsageError(f"Split {self.split!r}, row {row}: {self.column} {says}")

        for chunk in chunks:
            require(
                chunk.is_valid().to_numpy(zero_copy_only=False), "is empty: leave the row out, or embed its image."
            )
            says = f"has not the {width:,} numbers of the first row: every embedding needs the width of the model's."
            require(np.diff(_offsets(chunk)) == width, says)
            values = chunk.flatten()
            present = values.is_valid().to_numpy(zero_copy_only=False).reshape(len(chunk), width)
            require(present.all(axis=1), "lacks a number: embed the image again.")
            matrices.append(values.to_numpy().reshape(len(chunk), width))
            first += len(chunk)
        return matrices

    def _numbers(self, values: pa.ChunkedArray, at: np.ndarray, count: int) -> np.ndarray:
        """Return the number of the embedding of each image."""
        if not pa.types.is_integer(values.type):
            raise UsageError(
                f"Split {self.split!r}: {self.column} holds {values.type}; beside --image_embeds_file, it has to hold "
                "the number of a row in that file."
            )
        found = values.fill_null(-1).to_numpy()[at].astype(np.int64)
        for index in np.flatnonzero((found < 0) | (found >= count))[:1].tolist():
            value = values[int(at[index])].as_py()
            raise UsageError(
                f"{self.where(index)} is {value}, but the file of embeddings has rows 0 to {count - 1:,}."
            )
        return found

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, index) -> torch.Tensor:
        single = isinstance(index, int)
        at = self.at[index if isinstance(index, slice) else np.atleast_1d(np.asarray(index, dtype=np.int64))]
        found = torch.from_numpy(unit_rows(self._read(at)))
        return found[0] if single else found

    def _read(self, at: np.ndarray) -> np.ndarray:
        """Return stored rows as they are, in float32."""
        part_of = np.searchsorted(self._starts, at, side="right") - 1
        found = np.empty((len(at), self.width), np.float32)
        for part in np.unique(part_of).tolist():
            here = part_of == part
            # A float64 beyond the range of float32 becomes infinite, and is reported as such.
            with np.errstate(over="ignore"):
                found[here] = self.parts[part][at[here] - self._starts[part]]
        return found

    def where(self, index: int) -> str:
        """Return split, row and column of an embedding, to begin a message with."""
        return f"Split {self.split!r}, row {source_row(self.dataset, int(self.rows[index]))}: {self.column}"

    def require_width(self, width: int, model: str) -> None:
        """
        Raises:
            UsageError: the embeddings are not as wide as those of the model.
        """
        if self.width != width:
            raise UsageError(
                f"Split {self.split!r}: {self.column} holds embeddings of {self.width} numbers, but {model} projects "
                f"to {width}: use projected embeddings of this model, as `conclip embed` writes them."
            )

    def keys(self) -> np.ndarray:
        """
        Return the content keys of the embeddings: equal for rows that are equal once normalised.

        Returns:
            uint8, (images, 16).

        Raises:
            UsageError: an embedding is zero or not finite.
        """
        if self._keys is None:
            content = b"".join(self._keys_of(start) for start in range(0, len(self), ROWS_AT_A_TIME))
            self._keys = np.frombuffer(content, np.uint8).reshape(-1, KEY_BYTES)
        return self._keys

    def _keys_of(self, start: int) -> bytes:
        rows = self._read(self.at[start : start + ROWS_AT_A_TIME])
        for what, bad in (("not finite", ~np.isfinite(rows).all(axis=1)), ("all zeros", ~rows.any(axis=1))):
            for index in np.flatnonzero(bad)[:1].tolist():
                raise UsageError(
                    f"{self.where(start + index)} is {what}: leave the row out, or embed its image again."
                )
        return b"".join(xxhash.xxh3_128_digest(row) for row in unit_rows(rows))


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Normalise float32 rows, (n, d); rows of length 1 up to rounding keep their bits."""
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return (rows / np.where(abs(lengths - 1) <= UNIT_TOLERANCE, 1, lengths)).astype(np.float32)


def holds_lists(dataset: Dataset, column: str, of_vectors: bool) -> bool:
    """Return whether a column holds a list for each row; of vectors, or else of single values."""
    kind = dataset.data.schema.field(column).type
    return _is_list(kind) and (not of_vectors or _is_list(kind.value_type))


def holds_integers(dataset: Dataset, column: str) -> bool:
    """Return whether a column holds an integer, or a list of integers, for each row."""
    kind = dataset.data.schema.field(column).type
    return pa.types.is_integer(kind.value_type if _is_list(kind) else kind)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _offsets(lists: pa.Array) -> np.ndarray:
    """Return where each list begins among the values of all, and where the last ends."""
    if pa.types.is_fixed_size_list(lists.type):
        return np.arange(len(lists) + 1) * lists.type.list_size
    return lists.offsets.to_numpy()
