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
from datasets.utils.file_utils import xopen
from tqdm.auto import tqdm

from conclip.atomic_write import write_atomically
from conclip.embedding.tensor_files import DamagedFile, checksum, read_mapped, with_checksum

KEY_BYTES = 16
ROWS_AT_A_TIME = 1_000
NO_KEY = bytes(KEY_BYTES)


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
            uint8, (images, 16): XXH3 (128 bits) of the encoded bytes, seeded by the colour mode of the column's
            `Image` feature; zeros where the value is not an image or cannot be read.
        """
        stop = len(self.rows) if stop is None else stop
        seed = xxhash.xxh32_intdigest((self._mode() or "").encode())
        found = []
        with tqdm(
            total=stop - start, desc="Reading images", unit=" images", leave=False, disable=not show_progress
        ) as bar:
            for data, paths, at in self._chunks(start, stop):
                found += [NO_KEY] * len(at) if data is None else [_key(data[i], paths[i], seed) for i in at.tolist()]
                bar.update(len(at))
        return np.frombuffer(b"".join(found), np.uint8).reshape(-1, KEY_BYTES)

    def index_path(self, cache_dir: Path) -> Path | None:
        """
        Return the path of the index file for these images.

        The path differs for other rows, for a dataset that was prepared again and, if images are stored as paths,
        after any of these files has changed. It is `None` if such changes could not be noticed: for a dataset in
        memory, and for missing files and URLs.
        """
        files = [file["filename"] for file in self.dataset.cache_files]
        if not files:
            return None
        hasher = xxhash.xxh3_128(repr((self.dataset._fingerprint, self.column, self._mode())).encode())
        hasher.update(self.rows)
        if self.places is not None:
            hasher.update(self.places)
        try:
            for path in files:
                hasher.update(_stamp(path))
            for data, paths, at in self._chunks(0, len(self.rows)):
                if data is not None and data.null_count:
                    for index in at[~data.is_valid().to_numpy(zero_copy_only=False)[at]].tolist():
                        hasher.update(_stamp(paths[index].as_py()))
        # A file that is missing, a URL, or no path at all.
        except (OSError, TypeError, ValueError):
            return None
        return cache_dir / "indexes" / f"{hasher.hexdigest()}.safetensors"

    def _mode(self) -> str | None:
        feature = self.dataset.features[self.column]
        return getattr(getattr(feature, "feature", feature), "mode", None)

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


def _key(data: pa.Scalar, path: pa.Scalar, seed: int) -> bytes:
    if data.is_valid:
        return xxhash.xxh3_128_digest(data.as_buffer(), seed)
    if not path.is_valid:
        return NO_KEY
    name = path.as_py()
    try:
        with xopen(name, "rb") if "://" in name else open(name, "rb") as file:
            return xxhash.xxh3_128_digest(file.read(), seed)
    # The libraries behind URLs raise many kinds of errors. Decoding the image will fail too and report the reason.
    except Exception:
        return NO_KEY


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
    whole = tensors.keys() == {"keys"} and len(tensors["keys"]) == count and checksum(tensors) == recorded
    return tensors["keys"].numpy() if whole else None
