"""Files that would run code if they were unpickled: helpers, not a test."""

import io
import pickle
from pathlib import Path

import torch


class Payload:
    """Unpickled, it makes the file `path`."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        # Its name is the same in all versions of Python; that of open is not.
        return io.FileIO, (str(self.path), "w")


def payload(path: Path, how: str) -> bytes:
    """
    A pickle that makes the file `path` when it is loaded.

    Args:
        how: alone ("pickle"), as torch saves it ("torch"), or as its old versions did ("old torch").
    """
    if how == "pickle":
        return pickle.dumps(Payload(path))
    content = io.BytesIO()
    torch.save(Payload(path), content, _use_new_zipfile_serialization=how == "torch")
    return content.getvalue()
