"""Files of arrays (safetensors) that are there whole or not at all, and that tell whether they were damaged since."""

import os
import time
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import torch
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

CHECKSUM = "xxh3_128"
DAY = 24 * 60 * 60


class CannotWrite(OSError):
    """The message names the folder and says why."""


class DamagedFile(ValueError):
    """Truncated, or its content is not what was written."""


def checksum(tensors: dict[str, torch.Tensor]) -> str:
    """Of the bytes of all tensors (contiguous, on the CPU), in the order of their names."""
    hasher = xxhash.xxh3_128()
    for _, tensor in sorted(tensors.items()):
        hasher.update(tensor.numpy())
    return hasher.hexdigest()


def with_checksum(tensors: dict[str, torch.Tensor]) -> bytes:
    """The content of a safetensors file that tells whether it was damaged since."""
    return save(tensors, {CHECKSUM: checksum(tensors)})


@contextmanager
def writing_to(folder: Path):
    """
    Raises:
        CannotWrite: for any error of the system.
    """
    try:
        yield
    except OSError as error:
        raise CannotWrite(f"cannot write to {folder}: {error.strerror or error}.") from error


def write_whole(path: Path, content: bytes) -> None:
    """
    Writes beside and renames, so that a reader or a killed writer never leaves a part under the name of the whole.

    Raises:
        CannotWrite: the folder cannot be made or written to, or the disk is full; nothing is left behind.
    """
    unfinished = path.with_name(f"unfinished-{uuid4().hex}")
    with writing_to(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.write_bytes(content)
            os.replace(unfinished, path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise


def read_mapped(path: str | Path) -> tuple[dict[str, torch.Tensor], str | None]:
    """
    Returns:
        The tensors, mapped: what is not touched is not read; and the checksum they were written with.

    Raises:
        DamagedFile: truncated or no safetensors file.
        OSError: no such file, or no right to read it.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, (file.metadata() or {}).get(CHECKSUM)
    except SafetensorError as error:
        raise DamagedFile(str(error)) from error


def remove_unfinished(folder: Path) -> None:
    """What killed writers left: older than a day, since a younger one may belong to a writer at work."""
    for path in folder.glob("unfinished-*"):
        try:
            if path.stat().st_mtime < time.time() - DAY:
                path.unlink()
        # Another process was faster, or it is not ours to delete.
        except OSError:
            pass
