"""Read files of ready image embeddings: .npy, .npz, or a folder of .npy files."""

import errno
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conclip.errors import UsageError, one_line

# What a training run has open besides, with room to spare; systems allow 1,024 files unless they are asked for more.
OTHER_FILES = 512
# How the files begin.
NPY, NPZ = b"\x93NUMPY", b"PK"


@dataclass
class Embeddings:
    """
    Embeddings of images.

    Args:
        rows: float32 or float16, (n, d); memory-mapped if the file is .npy.
        names: names of the images, if known.
        keys: uint8, (n, 16), content keys of the images, if known.
    """

    rows: np.ndarray
    names: list[str] | None = None
    keys: np.ndarray | None = None


def read_embeddings(path: Path) -> Embeddings:
    """
    Read the embeddings of images.

    Args:
        path: .npy with the rows; or .npz with the rows, under any name, and optionally `names` and `keys`.

    Raises:
        UsageError: the file does not exist, is damaged, or holds something else.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(NPY))
        # numpy takes any other file for a pickle.
        if not start.startswith((NPY, NPZ)):
            raise UsageError(f"{path} is neither .npy nor .npz: write it with numpy.save or numpy.savez.")
        loaded = np.load(path, mmap_mode="r")
        arrays = {"rows": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except FileNotFoundError:
        raise UsageError(f"There is no file {path}: name the .npy or .npz file that holds embeddings.") from None
    except UsageError:
        raise
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder: name the .npy or .npz file that holds embeddings.") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, OSError) and error.errno == errno.EMFILE:
            raise UsageError(
                f"{path} cannot be opened: the system allows this process no more open files; allow more, by "
                "`ulimit -n`, or join the files."
            ) from error
        raise UsageError(f"{path} cannot be read as .npy or .npz ({one_line(error)}): write it again.") from error
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise UsageError(f"{path} holds more than arrays: write it with numpy.savez.")
    rows = [name for name, array in arrays.items() if array.ndim == 2 and array.dtype in (np.float32, np.float16)]
    if len(rows) != 1:
        shapes = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in arrays.items())
        raise UsageError(f"{path} must hold one array (n, d) of float32 or float16; it holds {shapes}.")
    count = len(arrays[rows[0]])
    for name in ("names", "keys"):
        if name in arrays and len(arrays[name]) != count:
            raise UsageError(f"{path} holds {len(arrays[name])} {name} for {count} embeddings: write it again.")
    names = [str(name) for name in arrays["names"]] if "names" in arrays else None
    return Embeddings(arrays[rows[0]], names, arrays.get("keys"))


def parts_paths(path: Path) -> list[Path]:
    """
    Return a file of embeddings, or the .npy files of a folder in the order of their names.

    Raises:
        UsageError: the folder holds none.
    """
    paths = sorted(path.glob("*.npy")) if path.is_dir() else [path]
    if not paths:
        raise UsageError(f"{path} holds no .npy file: name the file or folder that holds embeddings.")
    return paths


def read_parts(path: Path) -> list[np.ndarray]:
    """
    Open the embeddings of a file, or of the .npy files of a folder in the order of their names.

    Returns:
        The parts in order, float32 or float16, (n, d) each; those of .npy files are memory-mapped.

    Raises:
        UsageError: there is no such file, it cannot be used, or the parts have different widths.
    """
    paths = parts_paths(path)
    allow_open_files(len(paths))
    parts = [read_embeddings(one).rows for one in paths]
    for one, part in zip(paths, parts, strict=True):
        if part.shape[1] != parts[0].shape[1]:
            raise UsageError(
                f"{one} holds embeddings of {part.shape[1]} numbers, but {paths[0].name} of {parts[0].shape[1]}: "
                "name files of one model."
            )
    return parts


def allow_open_files(count: int) -> None:
    """Let this process open so many more files, as far as the system allows it: a file that is mapped stays open."""
    try:
        import resource
    # Windows, which has no such limit.
    except ImportError:
        return
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + OTHER_FILES
    if allowed < wanted and allowed != resource.RLIM_INFINITY:
        wanted = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        # macOS refuses what its kernel does not allow.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def numbers_of_names(wanted: list[str], names: list[str], where: str, file: str) -> list[int]:
    """
    Find images by the names of their files; folders do not count.

    Args:
        wanted: the names or paths of n images.
        names: the names of the images of a file of embeddings, in its order.
        where: where the wanted images are, for messages.
        file: name of the file of embeddings, for messages.

    Returns:
        The number of each wanted image in `names`.

    Raises:
        UsageError: an image has no embedding.
    """
    numbers = {Path(name).name: at for at, name in enumerate(names)}
    for row, name in enumerate(wanted):
        if Path(name or "").name not in numbers:
            raise UsageError(f"{where}, row {row}: {file} has no embedding of the image {name}: embed it too.")
    return [numbers[Path(name).name] for name in wanted]
