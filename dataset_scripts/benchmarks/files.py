"""Reads annotation files of benchmarks; what is wrong with one is said in a sentence that names file and row."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from datasets import Image, load_dataset

from dataset_scripts.benchmarks.schema import BenchmarkError


def read_json(path: Path, source: str):
    """
    Args:
        source: where the file is to be had, a sentence.

    Raises:
        BenchmarkError: no such file, or no JSON in it.
    """
    text = _text(path, source)
    try:
        return json.loads(text)
    except ValueError as error:
        raise BenchmarkError(f"{path} is damaged ({error}). {source}") from error


def read_rows(path: Path, source: str) -> Iterator[tuple[str | int, object]]:
    """
    (key, row) in the order of the file: of a JSON file that holds a dict or a list of rows, or of JSON Lines
    (`.jsonl`). The key of a list or of JSON Lines is the index, from 0.

    Raises:
        BenchmarkError: no such file, no JSON in it, or no rows.
    """
    rows = _read_jsonl(path, source) if path.suffix == ".jsonl" else read_json(path, source)
    if not isinstance(rows, dict | list) or not rows:
        raise BenchmarkError(f"{path} holds no rows. {source}")
    yield from rows.items() if isinstance(rows, dict) else enumerate(rows)


def dataset_rows(
    name: str, source: str, columns: list[str], images: Iterable[str], options: dict
) -> Iterator[tuple[int, dict]]:
    """
    (index, row) of `datasets.load_dataset(name, **options)`, one row at a time.

    Args:
        columns: to read.
        images: those of them whose images stay encoded: dicts of `bytes` and `path`.

    Raises:
        BenchmarkError: it cannot be had, has no such columns, or is damaged.
    """
    try:
        dataset = load_dataset(name, **options).select_columns(columns)
        for column in images:
            dataset = dataset.cast_column(column, Image(decode=False))
        yield from enumerate(dataset)
    except Exception as error:  # datasets, huggingface_hub, their HTTP client and pyarrow raise a dozen types
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise BenchmarkError(f"{name} cannot be read ({reason}). {source}") from error


def read_csv(path: Path, source: str, columns: Iterable[str]) -> list[dict[str, str]]:
    """
    Args:
        columns: that must be there.

    Raises:
        BenchmarkError: no such file, a column is missing, or a row is cut off.
    """
    lines = csv.DictReader(io.StringIO(_text(path, source), newline=""))
    rows = list(lines)
    absent = [name for name in columns if name not in (lines.fieldnames or ())]
    if absent:
        raise BenchmarkError(f"{path} has no column {absent[0]!r}. {source}")
    for index, row in enumerate(rows):
        if None in row or None in row.values():
            raise BenchmarkError(f"{path}, row {index} does not have one value for each column. {source}")
    return rows


def field(row: object, name: str, kind: type | tuple[type, ...], path: Path | str, index: object):
    """
    `row[name]`, which must be of this type and, if a text, not blank and without halves of a character.

    Raises:
        BenchmarkError: naming file, row and field.
    """
    value = row.get(name) if isinstance(row, Mapping) else None
    if not isinstance(value, kind) or (isinstance(value, str) and not _is_text(value)):
        raise BenchmarkError(f"{path}, row {index}: {name!r} is {value!r}; correct it or fetch the file again.")
    return value


def _is_text(value: str) -> bool:
    # JSON can hold one half of a surrogate pair, which no tokenizer takes.
    return bool(value.strip()) and not re.search("[\ud800-\udfff]", value)


def texts(row: object, name: str, path: Path | str, index: object) -> list[str]:
    """`row[name]`, which must be a list of texts, none of them blank; `BenchmarkError` as from `field`."""
    return [field({name: text}, name, str, path, index) for text in field(row, name, list, path, index)]


def encoded_image(row: object, name: str, path: Path | str, index: object) -> dict | str:
    """`row[name]`, an image that was not decoded, as `{"bytes": …}` or a path; `BenchmarkError` as from `field`."""
    image = field(row, name, dict, path, index)
    if image.get("bytes"):
        return {"bytes": image["bytes"]}
    return field({name: image.get("path")}, name, str, path, index)


def image_folder(data_dir: Path, *names: str) -> Path:
    """The first of the folders, relative to `data_dir`, that is there; the first of all if none is."""
    return next((data_dir / name for name in names if (data_dir / name).is_dir()), data_dir / names[0])


COCO_VAL2017 = ("coco/val2017", "val2017", "coco_val2017")
COCO_TRAIN2014 = ("coco/train2014", "train2014", "coco_train2014")


def _read_jsonl(path: Path, source: str) -> list:
    rows = []
    # A JSON text may hold U+2028 and its like, at which `splitlines` would cut it.
    for line, text in enumerate(_text(path, source).split("\n")):
        if text.strip():
            try:
                rows.append(json.loads(text))
            except ValueError as error:
                raise BenchmarkError(f"{path}, row {line} is damaged ({error}). {source}") from error
    return rows


def _text(path: Path, source: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BenchmarkError(f"{path} is damaged ({error}). {source}") from error
    except OSError as error:
        raise BenchmarkError(f"{path}: {error.strerror}. {source}") from error
