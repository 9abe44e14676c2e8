"""
Hashes that tell which images are the same.

The key of an image is a hash of its encoded bytes. An index file stores the keys of a whole column, so that the images
need not be read again.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
import xxhash
from datasets import Dataset
from tqdm.auto import tqdm

from conclip.atomic_write import mark_used, write_atomically
from conclip.embedding.image_files import read_encoded
from conclip.embedding.image_modes import ImageError
from conclip.embedding.tensor_files import DamagedFile, checksum, read_mapped, with_checksum

KEY_BYTES = 16
ROWS_AT_A_TIME = 1_000
NO_KEY = bytes(KEY_BYTES)


def image_key(content: bytes | pa.Buffer, mode: str | None = None) -> bytes:
    """
    Return the key of an image, 16 bytes: XXH3 (128 bits) of the encoded bytes.

    Args:
        mode: the colour mode of the column's `Image` feature, which seeds the hash.
    """
    return xxhash.xxh3_128_digest(content, xxhash.xxh32_intdigest((mode or "").encode()))


@dataclass
class StoredImages:
    """
    Images of a column in their stored form, not decoded: encoded bytes, or the path of a file.

    Args:
        rows: int64, (images,), ascending: the row of each image.
        places: int64, (images,), for a column of lists: the position of each image in the list of its row.
    """

    dataset: Dataset
    column: str
    rows: np.ndarray
    places: np.ndarray | None = None

    def __post_init__(self):
        self._arrow = self.dataset.with_format("arrow")

    def keys(self, start: int = 0, stop: int | None = None, show_progress: bool = False) -> np.ndarray:
        """
        Read the images without decoding them and return their keys.

        Args:
            start, stop: range of images, by default all.

        Returns:
            uint8, (images, 16), see `image_key`; zeros where the value is not an image or cannot be read.
        """
        stop = len(self.rows) if stop is None else stop
        found, failed = [], False
        with tqdm(
            total=stop - start, desc="Reading images", unit=" images", leave=False, disable=not show_progress
        ) as bar:
            for content, path in self._values(start, stop):
                key, is_url = NO_KEY, content is None and path is not None and "://" in path
                # The first failure ends the run; without a network, each further URL would take seconds to fail.
                if not (failed and is_url):
                    try:
                        key = image_key(read_encoded(content, path), self.mode)
                    # Decoding the image will fail too and report the reason.
                    except ImageError:
                        failed = failed or is_url
                found.append(key)
                bar.update(1)
        return np.frombuffer(b"".join(found), np.uint8).reshape(-1, KEY_BYTES)

    def value(self, index: int) -> tuple[pa.Buffer | None, str | None]:
        """Return the bytes and the path of an image, `None` for what it does not have."""
        (value,) = self._values(index, index + 1)
        return value

    @property
    def mode(self) -> str | None:
        """The colour mode of the column's `Image` feature."""
        feature = self.dataset.features[self.column]
        return getattr(getattr(feature, "feature", feature), "mode", None)

    def index_path(self, cache_dir: Path) -> Path | None:
        """
        Return the path of the index file for these images.

        The path differs for other rows, after a file among the images has changed and, if the dataset stores bytes,
        for one that was prepared again. It is `None` if such changes could not be noticed: for bytes in memory, and
        for missing files and URLs.
        """
        files = [file["filename"] for file in self.dataset.cache_files]
        hasher = xxhash.xxh3_128(repr((self.column, self.mode)).encode())
        hasher.update(self.rows)
        if self.places is not None:
            hasher.update(self.places)
        holds_bytes = False
        try:
            for data, paths, at in self._chunks(0, len(self.rows)):
                if data is None:
                    return None
                is_path = ~data.is_valid().to_numpy(zero_copy_only=False)[at]
                holds_bytes = holds_bytes or not is_path.all()
                if holds_bytes and not files:
                    return None
                for index in at[is_path].tolist():
                    hasher.update(_stamp(paths[index].as_py()))
            if holds_bytes:
                hasher.update(self.dataset._fingerprint.encode())
                for path in files:
                    hasher.update(_stamp(path))
        # A file that is missing, a URL, or no path at all.
        except (OSError, TypeError, ValueError):
            return None
        return cache_dir / "indexes" / f"{hasher.hexdigest()}.safetensors"

    def _values(self, start: int, stop: int) -> Iterator[tuple[pa.Buffer | None, str | None]]:
        """Yield the bytes and the path of each image, `None` for what it does not have."""
        for data, paths, at in self._chunks(start, stop):
            for index in at.tolist():
                if data is None:
                    yield None, None
                else:
                    yield data[index].as_buffer() if data[index].is_valid else None, paths[index].as_py()

    def _chunks(self, start: int, stop: int) -> Iterator[tuple[pa.Array | None, pa.Array | None, np.ndarray]]:
        """Yield bytes, paths and the positions of the images in them; `None`, `None` if the values are not images."""
        if start == stop:
            return
        row, last = self.rows[start], self.rows[stop - 1]
        while row <= last:
            for chunk in self._arrow[row : min(row + ROWS_AT_A_TIME, last + 1)][self.column].chunks:
                lo, hi = np.searchsorted(self.rows[start:stop], [row, row + len(chunk)]) + start
                if hi > lo:
                    yield _fields(
                        chunk, self.rows[lo:hi] - row, self.places if self.places is None else self.places[lo:hi]
                    )
                row += len(chunk)


def _fields(chunk: pa.Array, at: np.ndarray, places: np.ndarray | None):
    nothing = None, None, at
    if places is not None:
        if not (pa.types.is_list(chunk.type) or pa.types.is_large_list(chunk.type)):
            return nothing
        chunk, at = chunk.values, chunk.offsets.to_numpy()[at] + places
    if not pa.types.is_struct(chunk.type):
        return nothing
    # Unlike field(), flatten() gives null for what a missing struct holds.
    fields = dict(zip((field.name for field in chunk.type), chunk.flatten(), strict=True))
    return (fields["bytes"], fields["path"], at) if {"bytes", "path"} <= fields.keys() else nothing


def _stamp(path: str) -> bytes:
    status = os.stat(path)
    return repr((path, status.st_size, status.st_mtime_ns)).encode()


def save_index(path: Path, keys: np.ndarray) -> None:
    """Write an index file, unless an image could not be read: it may be readable next time."""
    if keys.any(axis=1).all():
        write_atomically(path, with_checksum({"keys": torch.tensor(keys)}))


def load_index(path: Path | None, count: int) -> np.ndarray | None:
    """Return the keys that `save_index` wrote; `None` if the file is missing, damaged or of another length."""
    try:
        tensors, recorded = read_mapped(path) if path else ({}, None)
    except (DamagedFile, FileNotFoundError, PermissionError):
        return None
    if tensors.keys() != {"keys"} or len(tensors["keys"]) != count or checksum(tensors) != recorded:
        return None
    mark_used(path)
    return tensors["keys"].numpy()
