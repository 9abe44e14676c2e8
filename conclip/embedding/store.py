"""
The frozen tower's embeddings, computed once: a store on disk, addressed by the content of the images.

A store is a folder a tower: `meta.json` says which, and `shard-*.safetensors` hold `keys`, uint8 (n, 16), and
`embeds`, float32 (n, d). Shards are only ever added, each whole or not at all, so any number of processes and runs may
write at once, and a killed one loses only what it had not written. A key that is there twice does no harm.
"""

import json
import os
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch

from conclip.atomic_write import remove_unfinished, reporting_write_errors, write_atomically
from conclip.embedding.image_hashes import KEY_BYTES
from conclip.embedding.tensor_files import DamagedFile, checksum, read_mapped, with_checksum

IMAGES_A_SHARD = 8_192
# Seconds of work that a killed run may lose.
SECONDS_A_SHARD = 60


def as_scalars(keys: np.ndarray) -> np.ndarray:
    """(n, 16) uint8 -> (n,) of a type that can be sorted and searched."""
    return np.ascontiguousarray(keys).view(f"S{KEY_BYTES}").ravel()


class StoredEmbeds:
    """
    Embeddings of images, in the order of the images, read from mapped shards as they are asked for.

    `embeds[index]` takes what one axis of an array takes (integer, slice, list, array, tensor) and gives float32,
    (n, d) or, for an integer, (d,). Pickled, it holds the names of the shards and not their content.

    Args:
        paths: the shards.
        shards, rows: int, (images,): in which of them an image is, and in which row.
    """

    def __init__(self, paths: list[str], shards: np.ndarray, rows: np.ndarray):
        self.paths, self.shards, self.rows = paths, shards, rows
        self._mapped = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_mapped": None}

    def __getitem__(self, index) -> torch.Tensor:
        if self._mapped is None:
            self._mapped = [read_mapped(path)[0]["embeds"].numpy() for path in self.paths]
        if not isinstance(index, int | slice):
            index = np.asarray(index)
            # That of an empty list would be float.
            index = index if index.size else index.astype(np.int64)
        shards, rows = self.shards[index], self.rows[index]
        if not isinstance(rows, np.ndarray):
            return torch.from_numpy(self._mapped[shards][rows].copy())
        found = np.empty((len(rows), self._mapped[0].shape[1] if self._mapped else 0), np.float32)
        order = np.argsort(shards, kind="stable")
        # One copy a shard.
        for part in np.split(order, np.flatnonzero(np.diff(shards[order])) + 1) if len(order) else ():
            found[part] = self._mapped[shards[part[0]]][rows[part]]
        return torch.from_numpy(found)


class EmbeddingStore:
    """
    Args:
        folder: of one tower.
        meta: what the embeddings depend on beside the images, for people to read.
    """

    def __init__(self, folder: Path, meta: dict):
        self.folder, self.meta, self._checked = folder, meta, set()

    def missing(self, keys: np.ndarray) -> tuple[int, np.ndarray]:
        """
        Args:
            keys: uint8, (images, 16).

        Returns:
            How many distinct keys there are, and for each that has no embedding the first index where it stands,
            int64, ascending.
        """
        distinct, first = np.unique(as_scalars(keys), return_index=True)
        _, shards, _ = self._locate(distinct)
        return len(distinct), np.sort(first[shards < 0])

    def read(self, keys: np.ndarray, names: Iterable[str] = ()) -> StoredEmbeds | None:
        """
        Args:
            keys: uint8, (images, 16).
            names: shards that must be there, though a listing of a network disk may not show them yet.

        Returns:
            One embedding for each key, `None` if any is missing.
        """
        paths, shards, rows = self._locate(as_scalars(keys), names)
        if (shards < 0).any():
            return None
        used, shards = np.unique(shards, return_inverse=True)
        return StoredEmbeds([paths[shard] for shard in used], shards.astype(np.int32), rows.astype(np.int32))

    def _locate(self, wanted: np.ndarray, names: Iterable[str] = ()) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Paths of all shards; for each key which of them has it, -1 for none, and in which row."""
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
            # A list: each is to be looked at, also after the first that is damaged.
            if all([self._check(paths[shard]) for shard in np.unique(shards[found])]):
                return paths, shards, rows

    def _open(self, names: Iterable[str]) -> tuple[list[str], list[np.ndarray]]:
        """The shards and the keys in them."""
        paths, keys = [], []
        for path in sorted({*self.folder.glob("shard-*.safetensors"), *(self.folder / name for name in names)}):
            try:
                tensors, _ = read_mapped(path)
                _require_shape(tensors)
            except DamagedFile as error:
                self._set_aside(path, error)
            # Set aside by another process in this moment, or kept by somebody for himself.
            except (FileNotFoundError, PermissionError):
                pass
            else:
                paths.append(str(path))
                keys.append(tensors["keys"].numpy())
        return paths, keys

    def _check(self, path: str) -> bool:
        """Only of shards that are used: it reads all of them."""
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
        with reporting_write_errors(self.folder):
            try:
                os.replace(path, aside)
            except FileNotFoundError:
                return
        warnings.warn(
            f"{path} is damaged ({reason}): renamed to {aside.name}; its images are embedded again.", stacklevel=2
        )


def _require_shape(tensors: dict[str, torch.Tensor]) -> None:
    keys, embeds = tensors.get("keys"), tensors.get("embeds")
    if keys is None or embeds is None or (keys.dtype, embeds.dtype) != (torch.uint8, torch.float32):
        raise DamagedFile("no keys and embeds of the right types")
    if not len(keys) or keys.dim() != 2 or embeds.dim() != 2 or len(keys) != len(embeds) or keys.shape[1] != KEY_BYTES:
        raise DamagedFile(f"keys {tuple(keys.shape)} do not go with embeds {tuple(embeds.shape)}")


class ShardWriter:
    """
    Adds embeddings to a store, as a context: on the way out, also by an error or Ctrl-C, it writes what it was given.

    Raises:
        WriteError: the folder cannot be written to, found on entering; or the disk is full.
    """

    def __init__(self, store: EmbeddingStore):
        self.store, self.names = store, []
        self._keys, self._embeds, self._since = [], [], None

    def __enter__(self):
        folder = self.store.folder
        write_atomically(folder / "meta.json", (json.dumps(self.store.meta, indent=2) + "\n").encode())
        remove_unfinished(folder)
        self._since = time.monotonic()
        return self

    def __exit__(self, *error) -> None:
        self.flush()

    def add(self, keys: np.ndarray, embeds: torch.Tensor) -> None:
        """
        Args:
            keys: uint8, (n, 16).
            embeds: (n, d), on any device, where it stays until its shard is written.
        """
        if sum(map(len, self._keys)) + len(keys) > IMAGES_A_SHARD:
            self.flush()
        self._keys.append(keys)
        self._embeds.append(embeds)
        if time.monotonic() - self._since > SECONDS_A_SHARD:
            self.flush()

    def flush(self) -> None:
        keys, embeds = self._keys, self._embeds
        # First: a full disk would be met again on the way out.
        self._keys, self._embeds, self._since = [], [], time.monotonic()
        if keys:
            name = f"shard-{uuid4().hex}.safetensors"
            tensors = {"keys": torch.from_numpy(np.concatenate(keys)), "embeds": torch.cat(embeds).float().cpu()}
            write_atomically(self.store.folder / name, with_checksum(tensors))
            self.names.append(name)
