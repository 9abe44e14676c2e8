"""Read and write the files of `conclip distractors`: embeddings, texts of images, finished blocks, the result."""

import io
import json
import re
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import xxhash

from conclip.atomic_write import WriteError, write_atomically
from conclip.distractors.search import Distractors, as_float32
from conclip.embedding.embedding_files import Embeddings
from conclip.embedding.tensor_files import DamagedFile, checksum, read_mapped, with_checksum
from conclip.errors import UsageError

COCO_NAME = re.compile(r"(?:COCO_\w+_)?(\d{12})\.jpg")
SUFFIXES = (".pt", ".parquet")
ROWS_AT_A_TIME = 4_096
# Raise it whenever the same inputs shall give another result: an interrupted run then starts again.
VERSION = 2


def read_texts(path: Path, embeddings: Embeddings) -> list[list[str]]:
    """
    Read the texts of each image, in the order of the embeddings.

    Args:
        path: JSON: a list with an entry for each image; an object with an entry for each name of an image; or COCO's
            captions, or instances (the names of their categories). An entry is a text or a list of texts. COCO's
            images are in the order of ascending ids, as in the authors' mapping, if the embeddings have no names.

    Raises:
        UsageError: the file does not exist, has another form, or does not fit these images.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UsageError(f"There is no file {path}: name a JSON file with the texts of the images.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as JSON ({error}): write it again.") from error
    positional = isinstance(content, list)
    if isinstance(content, dict) and {"images", "annotations"} <= content.keys():
        content, positional = _coco_texts(content, path), embeddings.names is None
    entries = content
    if isinstance(content, dict):
        if not positional and embeddings.names is None:
            raise UsageError(
                f"{path} lists images by name, but the embeddings have no names: use an .npz file with `names`."
            )
        names = list(content) if positional else embeddings.names
        missing = next((row for row, name in enumerate(names) if name not in content), None)
        if missing is not None:
            raise UsageError(f"{path} has no entry for the image in row {missing}, {names[missing]}: add it.")
        entries = [content[name] for name in names]
    if not isinstance(entries, list) or len(entries) != len(embeddings.rows):
        held = f"{len(entries)} entries" if isinstance(entries, list) else type(entries).__name__
        raise UsageError(f"{path} must have an entry for each of {len(embeddings.rows)} images; it has {held}.")
    return [_texts(entry, row, path) for row, entry in enumerate(entries)]


def _texts(entry, row: int, path: Path) -> list[str]:
    texts = [entry] if isinstance(entry, str) else entry
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UsageError(f"Entry {row} of {path} (the first is 0) is neither a text nor a list of texts: correct it.")
    return texts


def _coco_texts(content: dict, path: Path) -> dict[str, list[str]]:
    """Return the texts of each file name, in the order of ascending ids."""
    try:
        categories = {category["id"]: category["name"] for category in content.get("categories", [])}
        texts = {image["id"]: [] for image in sorted(content["images"], key=lambda image: image["id"])}
        for annotation in content["annotations"]:
            caption = annotation.get("caption")
            texts[annotation["image_id"]].append(categories[annotation["category_id"]] if caption is None else caption)
        names = {image["id"]: image["file_name"] for image in content["images"]}
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is not a file of COCO captions or instances ({error!r}): download it again."
        ) from error
    # Instances repeat a category for each object.
    return {names[image]: list(dict.fromkeys(of_image)) for image, of_image in texts.items()}


def check_output(path: Path, overwrite: bool, pool: Embeddings) -> None:
    """
    Check, before the search, that the result can be written to `path`.

    Raises:
        UsageError: the suffix is unknown, the file exists, or a .pt mapping would number COCO's images in another
            order than the authors' files.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"--output_file {path} must end in {' or '.join(SUFFIXES)}.")
    if path.is_dir():
        raise UsageError(f"--output_file {path} is a folder: name a file.")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists: choose another --output_file, or replace it with --overwrite.")
    ids = [COCO_NAME.fullmatch(Path(name).name) for name in pool.names or []]
    if path.suffix == ".pt" and ids and all(ids):
        numbers = [int(match[1]) for match in ids]
        row = next((row for row in range(1, len(numbers)) if numbers[row] <= numbers[row - 1]), None)
        if row is not None:
            raise UsageError(
                f"The mapping {path.name} numbers COCO images by ascending id, but row {row} of the pool, "
                f"{pool.names[row]}, does not follow that order: sort the pool, or write .parquet."
            )


def write_distractors(path: Path, found: Distractors, with_negation: bool) -> None:
    """
    Write the result.

    Args:
        path: .pt, in the layout of the authors' `distractor_image_mapping.pt`: a list of lists of k indices, plain
            data that `torch.load(weights_only=True)` reads. Or .parquet, a row for each query: `distractor_indices`,
            `distractor_scores` and `distractor_negation_holds`, lists of k.
        with_negation: whether to write `distractor_negation_holds`.
    """
    buffer = io.BytesIO()
    if path.suffix == ".pt":
        torch.save(found.indices.tolist(), buffer)
    else:
        table = {
            f"distractor_{name}": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1]).cast(
                pa.list_(pa.from_numpy_dtype(values.dtype))
            )
            for name, values in found._asdict().items()
            if name != "negation_holds" or with_negation
        }
        pq.write_table(pa.table(table), buffer)
    write_atomically(path, buffer.getvalue())


class Parts:
    """
    Finished blocks of rows, each in a file in a folder beside the output, so that an interrupted run can continue.

    Args:
        folder: created with the first block.
        key: depends on everything that the result depends on; blocks with another key are not read.
    """

    def __init__(self, folder: Path, key: str):
        self.folder, self.key = folder, key

    def _path(self, start: int) -> Path:
        return self.folder / f"{self.key}-{start:09d}.safetensors"

    def read(self, start: int) -> Distractors | None:
        """Return the block that begins with row `start`; `None` if there is none, or if its file is damaged."""
        try:
            tensors, recorded = read_mapped(self._path(start))
        except (FileNotFoundError, DamagedFile):
            return None
        if tensors.keys() != set(Distractors._fields) or checksum(tensors) != recorded:
            return None
        return Distractors(**{name: tensor.numpy() for name, tensor in tensors.items()})

    def write(self, start: int, block: Distractors) -> None:
        tensors = {name: torch.from_numpy(array) for name, array in block._asdict().items()}
        try:
            write_atomically(self._path(start), with_checksum(tensors))
        except WriteError:
            # Of no use if it was made for this block.
            with suppress(OSError):
                self.folder.rmdir()
            raise

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def key_of(queries: Embeddings, pool: Embeddings, *settings) -> str:
    """Return a hash of the embeddings, their content keys, and settings that JSON can hold."""
    hasher = xxhash.xxh3_128(json.dumps([VERSION, queries is pool, *settings]).encode())
    for embeddings in (queries, pool):
        hasher.update(repr((embeddings.rows.shape, embeddings.keys is None)).encode())
        for start in range(0, len(embeddings.rows), ROWS_AT_A_TIME):
            hasher.update(as_float32(embeddings.rows[start : start + ROWS_AT_A_TIME]).numpy())
        if embeddings.keys is not None:
            hasher.update(np.ascontiguousarray(embeddings.keys))
    return hasher.hexdigest()
