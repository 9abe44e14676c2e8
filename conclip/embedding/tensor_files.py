"""Safetensors files that carry a checksum of their content, so that damage is noticed."""

from pathlib import Path

import torch
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

CHECKSUM = "xxh3_128"


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
