"""Read the annotation files of benchmarks; errors name the file and the row."""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from conclip.errors import UsageError


def read_json(path: Path, source: str):
    """
    Read a JSON file.

    Args:
        source: a sentence that says where to get the file, for messages.

    Raises:
        UsageError: the file does not exist or is not JSON.
    """
    text = _text(path, source)
    try:
        return json.loads(text)
    # Brackets nested by the thousand, or a number with thousands of digits.
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is damaged ({error}). {source}") from error


def read_rows(path: Path, source: str) -> Iterator[tuple[str | int, object]]:
    """
    Yield (key, row) in the order of a JSON file that holds a dict or a list of rows, or of a JSON Lines file
    (`.jsonl`). The key in a list or in JSON Lines is the index, from 0.

    Raises:
        UsageError: the file does not exist, is not JSON, or has no rows.
    """
    rows = _read_jsonl(path, source) if path.suffix == ".jsonl" else read_json(path, source)
    if not isinstance(rows, dict | list) or not rows:
        raise UsageError(f"{path} holds no rows. {source}")
    yield from rows.items() if isinstance(rows, dict) else enumerate(rows)


def dataset_rows(
    name: str, source: str, columns: list[str], images: Iterable[str], options: dict
) -> Iterator[tuple[int, dict]]:
    """
    Yield (index, row) of `datasets.load_dataset(name, **options)`, one row at a time.

    Args:
        columns: the columns to read.
        images: those of the columns whose images stay encoded: dicts of `bytes` and `path`.

    Raises:
        UsageError: the dataset cannot be loaded, lacks a column, or is damaged.
    """
    # Imported late, so that the list of benchmarks is there at once.
    from datasets import Image, load_dataset

    try:
        dataset = load_dataset(name, **options).select_columns(columns)
        for column in images:
            dataset = dataset.cast_column(column, Image(decode=False))
        yield from enumerate(dataset)
    except Exception as error:  # datasets, huggingface_hub, their HTTP client and pyarrow raise a dozen types
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UsageError(f"{name} cannot be read ({reason}). {source}") from error


def read_csv(path: Path, source: str, columns: Iterable[str]) -> list[dict[str, str]]:
    """
    Read a CSV file.

    Args:
        columns: columns that the file must have.

    Raises:
        UsageError: the file does not exist, is damaged, lacks a column, or has an incomplete row.
    """
    lines = csv.DictReader(io.StringIO(_text(path, source), newline=""))
    try:
        rows = list(lines)
    # A quotation mark without its partner makes one field of all that follows.
    except csv.Error as error:
        raise UsageError(f"{path} is damaged ({error}). {source}") from error
    absent = [name for name in columns if name not in (lines.fieldnames or ())]
    if absent:
        raise UsageError(f"{path} has no column {absent[0]!r}. {source}")
    for index, row in enumerate(rows):
        if None in row or None in row.values():
            raise UsageError(f"{path}, row {index} does not have one value for each column. {source}")
    return rows


def field(row: object, name: str, kind: type | tuple[type, ...], path: Path | str, index: object):
    """
    Return `row[name]`, which must have this type; a text must not be blank or hold half a character.

    Raises:
        UsageError: the message names file, row and field.
    """
    value = row.get(name) if isinstance(row, Mapping) else None
    if not isinstance(value, kind) or (isinstance(value, str) and not _is_text(value)):
        raise UsageError(f"{path}, row {index}: {name!r} is {value!r}; correct it or download the file again.")
    return value


def _is_text(value: str) -> bool:
    # JSON can hold one half of a surrogate pair, which no tokenizer accepts.
    return bool(value.strip()) and not re.search("[\ud800-\udfff]", value)


def texts(row: object, name: str, path: Path | str, index: object) -> list[str]:
    """Return `row[name]`, which must be a list of texts, none of them blank; raises as `field` does."""
    return [field({name: text}, name, str, path, index) for text in field(row, name, list, path, index)]


def encoded_image(row: object, name: str, path: Path | str, index: object) -> dict | str:
    """Return `row[name]`, an encoded image, as `{"bytes": …}` or a path; raises as `field` does."""
    image = field(row, name, dict, path, index)
    if image.get("bytes"):
        return {"bytes": image["bytes"]}
    return field({name: image.get("path")}, name, str, path, index)


def corners(box: object, path: Path, index: object) -> tuple[float, float, float, float]:
    """
    Return a box [x, y, width, height], in pixels, as (left, top, right, bottom).

    Raises:
        UsageError: it is not a box with an area.
    """
    numbers = isinstance(box, list) and all(type(side) in (int, float) and math.isfinite(side) for side in box)
    if not numbers or len(box) != 4 or min(box[2:]) <= 0:
        raise UsageError(
            f"{path}, row {index}: {box!r} is not a box [x, y, width, height] with an area; correct it or download "
            "the file again."
        )
    x, y, width, height = box
    return x, y, x + width, y + height


def image_folder(data_dir: Path, *names: str) -> Path:
    """Return the first of the folders below `data_dir` that exists; the first of all if none does."""
    return next((data_dir / name for name in names if (data_dir / name).is_dir()), data_dir / names[0])


def visual_genome_image(data_dir: Path, name: str) -> Path:
    """Return the path of an image of Visual Genome in the first of its two folders that holds it."""
    paths = [data_dir / "vg" / folder / name for folder in ("VG_100K", "VG_100K_2")]
    return next((path for path in paths if path.is_file()), paths[0])


VISUAL_GENOME_SOURCE = (
    "the images, https://cs.stanford.edu/people/rak248/VG_100K_2/images.zip and images2.zip, go into vg/VG_100K/ and "
    "vg/VG_100K_2/"
)
COCO_VAL2017 = ("coco/val2017", "val2017", "coco_val2017")
COCO_TRAIN2014 = ("coco/train2014", "train2014", "coco_train2014")


def _read_jsonl(path: Path, source: str) -> list:
    rows = []
    # A JSON text may hold characters such as U+2028, at which `splitlines` would cut it.
    for line, text in enumerate(_text(path, source).split("\n")):
        if text.strip():
            try:
                rows.append(json.loads(text))
            except (ValueError, RecursionError) as error:
                raise UsageError(f"{path}, row {line} is damaged ({error}). {source}") from error
    return rows


def _text(path: Path, source: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is damaged ({error}). {source}") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}. {source}") from error
