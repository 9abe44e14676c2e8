"""Reads annotation files of benchmarks; what is wrong with one is said in a sentence that names file and row."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from .benchmark_schema import BenchmarkError


def read_json(path: Path, source: str):
    """
    Args:
        source: where the file is to be had, a sentence.

    Raises:
        BenchmarkError: no such file, or no JSON in it.
    """
    try:
        return json.loads(_text(path, source))
    except ValueError as error:
        raise BenchmarkError(f"{path} is damaged ({error}). {source}") from error


def read_csv(path: Path, source: str, columns: Iterable[str]) -> list[dict[str, str]]:
    """
    Args:
        columns: that must be there.

    Raises:
        BenchmarkError: no such file, a column is missing, or a row is cut off.
    """
    lines = csv.DictReader(_text(path, source).splitlines(keepends=True))
    rows = list(lines)
    absent = [name for name in columns if name not in (lines.fieldnames or ())]
    if absent:
        raise BenchmarkError(f"{path} has no column {absent[0]!r}. {source}")
    for index, row in enumerate(rows):
        if None in row or None in row.values():
            raise BenchmarkError(f"{path}, row {index} does not have one value for each column. {source}")
    return rows


def field(row: object, name: str, kind: type | tuple[type, ...], path: Path, index: object):
    """
    `row[name]`, which must be of this type and, if a text, not blank.

    Raises:
        BenchmarkError: naming file, row and field.
    """
    value = row.get(name) if isinstance(row, Mapping) else None
    if not isinstance(value, kind) or (isinstance(value, str) and not value.strip()):
        raise BenchmarkError(f"{path}, row {index}: {name!r} is {value!r}; correct it or fetch the file again.")
    return value


def image_folder(data_dir: Path, *names: str) -> Path:
    """The first of the folders, relative to `data_dir`, that is there; the first of all if none is."""
    return next((data_dir / name for name in names if (data_dir / name).is_dir()), data_dir / names[0])


COCO_VAL2017 = ("coco/val2017", "val2017", "coco_val2017")


def _text(path: Path, source: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BenchmarkError(f"{path} is damaged ({error}). {source}") from error
    except OSError as error:
        raise BenchmarkError(f"{path}: {error.strerror}. {source}") from error
