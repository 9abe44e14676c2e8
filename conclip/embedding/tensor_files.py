"""Safetensors files with a checksum of their content, so that damage is noticed."""

from pathlib import Path

import torch
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

CHECKSUM = "xxh3_128"


class DamagedFile(ValueError):
    """Report a file that is truncated or whose content was changed."""


def checksum(tensors: dict[str, torch.Tensor]) -> str:
    """Return the XXH3 (128 bits) of all tensors (contiguous, on the CPU) in the order of their names."""
    hasher = xxhash.xxh3_128()
    for _, tensor in sorted(tensors.items()):
        hasher.update(tensor.numpy())
    return hasher.hexdigest()


def with_checksum(tensors: dict[str, torch.Tensor]) -> bytes:
    """Return the content of a safetensors file that holds the tensors and their checksum."""
    return save(tensors, {CHECKSUM: checksum(tensors)})


def read_mapped(path: str | Path) -> tuple[dict[str, torch.Tensor], str | None]:
    """
    Memory-map the tensors of a file; only the parts that are used are read.

    Returns:
        The tensors, and the checksum that was written with them.

    Raises:
        DamagedFile: the file is truncated or not a safetensors file.
        OSError: the file does not exist or may not be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, (file.metadata() or {}).get(CHECKSUM)
    except SafetensorError as error:
        raise DamagedFile(str(error)) from error
