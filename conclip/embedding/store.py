"""
A store of embeddings on disk, addressed by the content of the images or texts.

The store of one encoder is one folder. `meta.json` describes the encoder, and `shard-*.safetensors` hold `keys`, uint8
(n, 16), and `embeds`, float32 (n, d). Shards are only added, each as a whole file, so any number of processes and runs
may write at the same time, and a killed process loses only what it had not written yet. Duplicate keys do no harm.
"""

import json
import os
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import numpy as np
import torch

from conclip.atomic_write import remove_unfinished, reporting_write_errors, write_atomically
from conclip.embedding.image_hashes import KEY_BYTES
from conclip.embedding.tensor_files import DamagedFile, checksum, read_mapped, with_checksum
from conclip.folder_lock import share

ITEMS_PER_SHARD = 8_192
# A killed run loses at most this many seconds of work.
SECONDS_PER_SHARD = 60


def as_scalars(keys: np.ndarray) -> np.ndarray:
    """Return keys, uint8 (n, 16), as (n,) of a type that numpy can sort and search."""
    return np.ascontiguousarray(keys).view(f"S{KEY_BYTES}").ravel()


class StoredEmbeddings:
    """
    Embeddings of a list of images or texts, in its order, read from memory-mapped shards on access.

    `embeds[index]` takes any index of one array axis (integer, slice, list, array, tensor) and returns float32, (n, d)
    or, for an integer, (d,). When pickled, it holds the paths of the shards and not their content.

    Args:
        paths: paths of the shards.
        shards, rows: int, (items,): the index of each item's shard in `paths`, and its row in that shard.
        mark: what `share` returned for the folder of the shards.
    """

    def __init__(self, paths: list[str], shards: np.ndarray, rows: np.ndarray, mark: BinaryIO | None = None):
        self.paths, self.shards, self.rows = paths, shards, rows
        self._mapped, self._mark = None, mark

    def __len__(self) -> int:
        return len(self.rows)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_mapped": None, "_mark": None}

    def __getitem__(self, index) -> torch.Tensor:
        if self._mapped is None:
            self._mapped = [read_mapped(path)[0]["embeds"].numpy() for path in self.paths]
        if not isinstance(index, int | slice):
            index = np.asarray(index)
            # numpy makes an empty list a float array, which cannot be an index.
            index = index if index.size else index.astype(np.int64)
        shards, rows = self.shards[index], self.rows[index]
        if not isinstance(rows, np.ndarray):
            return torch.from_numpy(self._mapped[shards][rows].copy())
        found = np.empty((len(rows), self._mapped[0].shape[1] if self._mapped else 0), np.float32)
        order = np.argsort(shards, kind="stable")
        # One copy per shard.
        for part in np.split(order, np.flatnonzero(np.diff(shards[order])) + 1) if len(order) else ():
            found[part] = self._mapped[shards[part[0]]][rows[part]]
        return torch.from_numpy(found)


class EmbeddingStore:
    """
    The store of one encoder.

    Args:
        folder: the folder of this encoder.
        description: everything that the embeddings depend on besides the items; written to `meta.json` for people.
        data: name of the items, written there too.
    """

    def __init__(self, folder: Path, description: dict, data: str = ""):
        self.folder, self.description, self.data, self._checked = folder, description, data, set()
        # As long as this or what `read` returns is there, `conclip cache` deletes nothing.
        self._mark = share(folder)

    def missing(self, keys: np.ndarray) -> tuple[int, np.ndarray]:
        """
        Find the items that have no embedding yet.

        Args:
            keys: uint8, (items, 16).

        Returns:
            The number of distinct keys, and the first index of each distinct key without an embedding, int64,
            ascending.
        """
        distinct, first = np.unique(as_scalars(keys), return_index=True)
        _, shards, _ = self._locate(distinct)
        return len(distinct), np.sort(first[shards < 0])

    def read(self, keys: np.ndarray, names: Iterable[str] = ()) -> StoredEmbeddings | None:
        """
        Return one embedding for each key, or `None` if any is missing.

        Args:
            keys: uint8, (items, 16).
            names: names of shards that exist, even if the listing of a network disk does not show them yet.
        """
        paths, shards, rows = self._locate(as_scalars(keys), names)
        if (shards < 0).any():
            return None
        used, shards = np.unique(shards, return_inverse=True)
        used_paths = [paths[shard] for shard in used]
        return StoredEmbeddings(used_paths, shards.astype(np.int32), rows.astype(np.int32), self._mark)

    def describe(self) -> None:
        """
        Write `meta.json`.

        Raises:
            WriteError: the folder cannot be written to.
        """
        path = self.folder / "meta.json"
        try:
            earlier = json.loads(path.read_text("utf-8"))["data"]
        # There is none yet, or it was written before names were kept.
        except (OSError, ValueError, KeyError, TypeError):
            earlier = []
        names = sorted({*earlier, *filter(None, [self.data])})
        write_atomically(path, (json.dumps({**self.description, "data": names}, indent=2) + "\n").encode())

    def _locate(self, wanted: np.ndarray, names: Iterable[str] = ()) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Return the paths of all shards and, for each key, the index of its shard (-1 for none) and its row there."""
        while True:
            paths, keys = self._open(names)
            if not paths:
                return [], np.full(len(wanted), -1), np.zeros(len(wanted), np.int64)
            everything, ends = as_scalars(np.concatenate(keys)), np.cumsum([len(part) for part in keys])
            order = np.argsort(everything, kind="stable")
            at = order[np.minimum(np.searchsorted(everything, wanted, sorter=order), len(order) - 1)]
            found = everything[at] == wanted
            shards = np.where(found, np.searchsorted(ends, at, side="right"), -1)
            rows = at - np.concatenate([[0], ends])[shards]
            # A list, not a generator: every shard must be checked, also after a damaged one.
            if all([self._check(paths[shard]) for shard in np.unique(shards[found])]):
                return paths, shards, rows

    def _open(self, names: Iterable[str]) -> tuple[list[str], list[np.ndarray]]:
        """Return the paths of the readable shards and their keys."""
        paths, keys = [], []
        for path in sorted({*self.folder.glob("shard-*.safetensors"), *(self.folder / name for name in names)}):
            try:
                tensors, _ = read_mapped(path)
                _require_shape(tensors)
            except DamagedFile as error:
                self._set_aside(path, error)
            # Another process renamed it just now, or this user may not read it.
            except (FileNotFoundError, PermissionError):
                pass
            else:
                paths.append(str(path))
                keys.append(tensors["keys"].numpy())
        return paths, keys

    def _check(self, path: str) -> bool:
        """Verify the checksum; only done for shards in use, since it reads the whole file."""
        if path not in self._checked:
            try:
                tensors, recorded = read_mapped(path)
            except FileNotFoundError:
                return False
            if checksum(tensors) != recorded:
                self._set_aside(Path(path), "its content is not what was written")
                return False
            self._checked.add(path)
        return True

    def _set_aside(self, path: Path, reason: object) -> None:
        aside = path.with_name(f"damaged-{path.name}")
        with reporting_write_errors(path):
            try:
                os.replace(path, aside)
            except FileNotFoundError:
                return
        warnings.warn(
            f"{path} is damaged ({reason}): renamed to {aside.name}; its contents are computed again.", stacklevel=2
        )


def _require_shape(tensors: dict[str, torch.Tensor]) -> None:
    keys, embeds = tensors.get("keys"), tensors.get("embeds")
    if keys is None or embeds is None or (keys.dtype, embeds.dtype) != (torch.uint8, torch.float32):
        raise DamagedFile("no keys and embeds of the right types")
    if not len(keys) or keys.dim() != 2 or embeds.dim() != 2 or len(keys) != len(embeds) or keys.shape[1] != KEY_BYTES:
        raise DamagedFile(f"keys {tuple(keys.shape)} and embeds {tuple(embeds.shape)} do not match")


class ShardWriter:
    """
    Add embeddings to a store: a context manager that writes what it received, also after an error or Ctrl-C.

    Raises:
        WriteError: the folder cannot be written to (checked on entry), or the disk is full.
    """

    def __init__(self, store: EmbeddingStore):
        self.store, self.names = store, []
        self._keys, self._embeds, self._since = [], [], None

    def __enter__(self):
        self.store.describe()
        remove_unfinished(self.store.folder)
        self._since = time.monotonic()
        return self

    def __exit__(self, *error) -> None:
        self.flush()

    def add(self, keys: np.ndarray, embeds: torch.Tensor) -> None:
        """
        Args:
            keys: uint8, (n, 16).
            embeds: (n, d), on any device; they stay there until the shard is written.
        """
        if sum(map(len, self._keys)) + len(keys) > ITEMS_PER_SHARD:
            self.flush()
        self._keys.append(keys)
        self._embeds.append(embeds)
        if time.monotonic() - self._since > SECONDS_PER_SHARD:
            self.flush()

    def flush(self) -> None:
        keys, embeds = self._keys, self._embeds
        # Cleared first: after a full disk, `__exit__` would try to write the same again.
        self._keys, self._embeds, self._since = [], [], time.monotonic()
        if keys:
            name = f"shard-{uuid4().hex}.safetensors"
            tensors = {"keys": torch.from_numpy(np.concatenate(keys)), "embeds": torch.cat(embeds).float().cpu()}
            write_atomically(self.store.folder / name, with_checksum(tensors))
            self.names.append(name)
