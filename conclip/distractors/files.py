"""What `conclip.distractors.command` reads and writes: embeddings, texts of images, and the finished distractors."""

import io
import json
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import xxhash

from conclip.atomic_write import write_atomically
from conclip.distractors.unit_rows import ROWS_AT_A_TIME, read_rows
from conclip.embedding.tensor_files import DamagedFile, checksum, read_mapped, with_checksum

COCO_NAME = re.compile(r"(?:COCO_\w+_)?(\d{12})\.jpg")
SUFFIXES = (".pt", ".parquet")
# To be raised whenever the same inputs are to give something else.
VERSION = 1


class DistractorError(ValueError):
    """Something is wrong with what the user gave; the message is one sentence that says what and where."""


@dataclass
class Embeddings:
    """
    Args:
        rows: float32 or float16, (n, d); mapped where the file is .npy.
        names: of the images, where known.
        keys: uint8, (n, 16), content keys of the images, where known.
    """

    rows: np.ndarray
    names: list[str] | None = None
    keys: np.ndarray | None = None


@dataclass
class Distractors:
    """
    Args:
        indices: int64, (n, k), of the pool; -1 where it has no more.
        scores: float32, (n, k), dot products; -inf where there are no more.
        agrees: bool, (n, k), whether the negated caption is true of it, as far as its texts tell.
    """

    indices: np.ndarray
    scores: np.ndarray
    agrees: np.ndarray


def read_embeddings(path: Path) -> Embeddings:
    """
    Args:
        path: .npy, the rows; or .npz with the rows, under any name, and if known `names` and `keys`.

    Raises:
        DistractorError: no such file, damaged, or it holds something else.
    """
    try:
        loaded = np.load(path, mmap_mode="r")
        arrays = {"rows": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except FileNotFoundError:
        raise DistractorError(f"There is no file {path}: name the .npy or .npz file that holds embeddings.") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DistractorError(f"{path} cannot be read as .npy or .npz ({error}): write it again.") from error
    rows = [name for name, array in arrays.items() if array.ndim == 2 and array.dtype in (np.float32, np.float16)]
    if len(rows) != 1:
        shapes = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in arrays.items())
        raise DistractorError(f"{path} must hold one array (n, d) of float32 or float16; it holds {shapes}.")
    count = len(arrays[rows[0]])
    for name in ("names", "keys"):
        if name in arrays and len(arrays[name]) != count:
            raise DistractorError(f"{path} holds {len(arrays[name])} {name} for {count} embeddings: write it again.")
    names = [str(name) for name in arrays["names"]] if "names" in arrays else None
    return Embeddings(arrays[rows[0]], names, arrays.get("keys"))


def read_texts(path: Path, embeddings: Embeddings) -> list[list[str]]:
    """
    The texts of each image, in the order of the embeddings.

    Args:
        path: JSON: a list with an entry for each image; an object of them by name of the image; or COCO's captions or
            instances, of which the names of the categories are taken. An entry is a text or a list of texts. Without
            names beside the embeddings, COCO's images go by ascending id, as in the authors' mapping.

    Raises:
        DistractorError: no such file, not of this form, or not for these images.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DistractorError(f"There is no file {path}: name a JSON file with the texts of the images.") from None
    except (OSError, ValueError) as error:
        raise DistractorError(f"{path} cannot be read as JSON ({error}): write it again.") from error
    positional = isinstance(content, list)
    if isinstance(content, dict) and {"images", "annotations"} <= content.keys():
        content, positional = _coco_texts(content, path), embeddings.names is None
    entries = content
    if isinstance(content, dict):
        if not positional and embeddings.names is None:
            raise DistractorError(f"{path} goes by name, but the embeddings have no names: give an .npz with `names`.")
        names = list(content) if positional else embeddings.names
        missing = next((row for row, name in enumerate(names) if name not in content), None)
        if missing is not None:
            raise DistractorError(f"{path} has no entry for the image in row {missing}, {names[missing]}: add it.")
        entries = [content[name] for name in names]
    if not isinstance(entries, list) or len(entries) != len(embeddings.rows):
        held = f"{len(entries)} entries" if isinstance(entries, list) else type(entries).__name__
        raise DistractorError(f"{path} must have an entry for each of {len(embeddings.rows)} images; it has {held}.")
    return [_texts(entry, row, path) for row, entry in enumerate(entries)]


def _texts(entry, row: int, path: Path) -> list[str]:
    texts = [entry] if isinstance(entry, str) else entry
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise DistractorError(f"Entry {row} of {path} (the first is 0) is no text and no list of texts: correct it.")
    return texts


def _coco_texts(content: dict, path: Path) -> dict[str, list[str]]:
    """By file name, in the order of ascending ids."""
    try:
        categories = {category["id"]: category["name"] for category in content.get("categories", [])}
        texts = {image["id"]: [] for image in sorted(content["images"], key=lambda image: image["id"])}
        for annotation in content["annotations"]:
            caption = annotation.get("caption")
            texts[annotation["image_id"]].append(categories[annotation["category_id"]] if caption is None else caption)
        names = {image["id"]: image["file_name"] for image in content["images"]}
    except (KeyError, TypeError, AttributeError) as error:
        raise DistractorError(
            f"{path} is no file of COCO captions or instances ({error!r}): fetch it again."
        ) from error
    # Instances name a category once for each object.
    return {names[image]: list(dict.fromkeys(of_image)) for image, of_image in texts.items()}


def check_output(path: Path, overwrite: bool, pool: Embeddings) -> None:
    """
    Raises:
        DistractorError: another suffix; the file exists; or the mapping would count COCO's images in another order.
    """
    if path.suffix not in SUFFIXES:
        raise DistractorError(f"The output {path} must end in {' or '.join(SUFFIXES)}.")
    if path.exists() and not overwrite:
        raise DistractorError(f"{path} exists: choose another --output, or replace it with --overwrite_output.")
    ids = [COCO_NAME.fullmatch(Path(name).name) for name in pool.names or []]
    if path.suffix == ".pt" and ids and all(ids):
        numbers = [int(match[1]) for match in ids]
        row = next((row for row in range(1, len(numbers)) if numbers[row] <= numbers[row - 1]), None)
        if row is not None:
            raise DistractorError(
                f"The mapping {path.name} counts COCO images by ascending id, but row {row} of the pool, "
                f"{pool.names[row]}, does not follow that order: sort the pool, or write .parquet."
            )


def write_distractors(path: Path, indices: np.ndarray, scores: np.ndarray, agrees: np.ndarray | None) -> None:
    """
    Args:
        path: .pt, the layout of the authors' `distractor_image_mapping.pt`: a list of lists of k indices, plain data
            that `torch.load(weights_only=True)` reads. Or .parquet: a row a query of `distractor_indices`,
            `distractor_scores` and, if given, `distractor_agrees`, lists of k.
        indices, scores, agrees: int64, float32 and bool, (n, k).
    """
    buffer = io.BytesIO()
    if path.suffix == ".pt":
        torch.save(indices.tolist(), buffer)
    else:
        columns = {"indices": indices, "scores": scores, "agrees": agrees}
        table = {
            f"distractor_{name}": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1]).cast(
                pa.list_(pa.from_numpy_dtype(values.dtype))
            )
            for name, values in columns.items()
            if values is not None
        }
        pq.write_table(pa.table(table), buffer)
    write_atomically(path, buffer.getvalue())


class Parts:
    """
    Finished blocks of rows, in a folder beside the output: a file each, whole or not there.

    Args:
        key: of everything the result depends on; blocks of another key are not read.
    """

    def __init__(self, folder: Path, key: str):
        self.folder, self.key = folder, key

    def _path(self, start: int) -> Path:
        return self.folder / f"{self.key}-{start:09d}.safetensors"

    def read(self, start: int, count: int) -> Distractors | None:
        """`None` if it is not there, or damaged."""
        try:
            tensors, recorded = read_mapped(self._path(start))
        except (FileNotFoundError, DamagedFile):
            return None
        if tensors.keys() != Distractors.__annotations__.keys() or checksum(tensors) != recorded:
            return None
        return Distractors(**{name: tensor.numpy() for name, tensor in tensors.items()})

    def write(self, start: int, part: Distractors) -> None:
        tensors = {name: torch.from_numpy(array) for name, array in vars(part).items()}
        write_atomically(self._path(start), with_checksum(tensors))

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def key_of(queries: Embeddings, pool: Embeddings, *settings) -> str:
    """Of the content of the embeddings and keys, and of settings that JSON can hold."""
    hasher = xxhash.xxh3_128(json.dumps([VERSION, queries is pool, *settings]).encode())
    for embeddings in (queries, pool):
        hasher.update(repr((embeddings.rows.shape, embeddings.keys is None)).encode())
        for start in range(0, len(embeddings.rows), ROWS_AT_A_TIME):
            hasher.update(read_rows(embeddings.rows, start, start + ROWS_AT_A_TIME).numpy())
        if embeddings.keys is not None:
            hasher.update(np.ascontiguousarray(embeddings.keys))
    return hasher.hexdigest()
