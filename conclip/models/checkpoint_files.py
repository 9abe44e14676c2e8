"""
Weights from the checkpoint files of others, without running anything that a file holds.

State dicts are read with `torch.load(weights_only=True)`, which also accepts the `argparse.Namespace` of CoN-CLIP's
checkpoints. TorchScript archives, as OpenAI distributes them, torch only opens by compiling their code. Here their
`data.pkl` is read instead, by an unpickler that knows tensors and containers and takes modules for plain records.
"""

import argparse
import pickle
import re
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import load_file

from conclip.errors import UsageError

# Of storages, in data.pkl.
DTYPES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """
    Read the weights of a checkpoint, under the names of its model.

    Args:
        path: a state dict, alone or as `state_dict` (open_clip, NegCLIP) or `model` (CoN-CLIP) of a training
            checkpoint, its names with `module.` before them or without; a TorchScript archive; or safetensors.

    Raises:
        UsageError: the file cannot be read, holds other objects than weights, or no weights.
    """
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        elif zipfile.is_zipfile(path) and _is_torchscript(path):
            content = _read_torchscript(path)
        else:
            with torch.serialization.safe_globals([argparse.Namespace]):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"{found[1]}, an object" if found else "objects"
        raise UsageError(
            f"{path} holds {what} other than weights, which is not loaded because that could run code: save the "
            "weights alone with torch.save(model.state_dict(), FILE)."
        ) from error
    except UsageError:
        raise
    # Damaged files: each format has its own types of errors, and their messages are about the format.
    except Exception as error:
        raise UsageError(
            f"{path} is cut short or not a checkpoint of PyTorch or safetensors; download it again."
        ) from error
    return _state_dict(content, path)


def _state_dict(content, path: Path) -> dict[str, torch.Tensor]:
    for name in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not content:
        raise UsageError(f"{path} holds no weights: expected a state dict, alone or as `state_dict` or `model`.")
    for name, weight in content.items():
        if not isinstance(name, str) or not isinstance(weight, torch.Tensor):
            raise UsageError(f"{path} holds {name!r} among its weights, which is no tensor.")
    # Written by DistributedDataParallel.
    if all(name.startswith("module.") for name in content):
        content = {name.removeprefix("module."): weight for name, weight in content.items()}
    return dict(content)


def _is_torchscript(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _read_torchscript(path: Path) -> dict[str, torch.Tensor]:
    with zipfile.ZipFile(path) as archive:
        (data,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        with archive.open(data) as file:
            module = _TorchScriptUnpickler(file, archive, data.removesuffix("data.pkl")).load()
    weights: dict[str, torch.Tensor] = {}
    _collect(module, "", weights, set())
    return weights


def _collect(module, prefix: str, weights: dict[str, torch.Tensor], above: set[int]) -> None:
    if id(module) in above:
        raise UsageError(f"the TorchScript module {prefix.rstrip('.')} contains itself.")
    for name, value in vars(module).items():
        if isinstance(value, torch.Tensor):
            weights[f"{prefix}{name}"] = value
        elif hasattr(value, "__dict__"):
            _collect(value, f"{prefix}{name}.", weights, above | {id(module)})


class _TorchScriptUnpickler(pickle.Unpickler):
    """Read `data.pkl` of a TorchScript archive: every name in it is looked up here, and none is imported."""

    def __init__(self, file, archive: zipfile.ZipFile, folder: str):
        super().__init__(file)
        self._archive, self._folder = archive, folder
        self._storages: dict[str, torch.Tensor] = {}

        # Made for each file: what a pickle sets on them ends with the file.
        class _Module:
            pass

        def tensor(storage, offset, size, stride, *_):
            return torch.as_strided(storage, size, stride, offset)

        def first(value, *_):
            return value

        self._module, self._tensor, self._first = _Module, tensor, first

    def find_class(self, module: str, name: str):
        if module.startswith("__torch__."):
            return self._module
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch.jit._pickle" and re.fullmatch(r"restore_type_tag|build_\w+list", name):
            return self._first
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")

    def persistent_load(self, pid):
        _, dtype, key, _, _ = pid
        if key not in self._storages:
            entry = self._archive.getinfo(f"{self._folder}data/{key}")
            # torch writes them so; a compressed one may unpack to any size.
            if entry.compress_type != zipfile.ZIP_STORED:
                raise UsageError(
                    f"{self._archive.filename}: data/{key} is compressed, which torch never does; download it again."
                )
            content = bytearray(self._archive.read(entry))
            self._storages[key] = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        return self._storages[key]
