"""Splits of datasets and their text columns, checked."""

from __future__ import annotations

import glob
import os
import re
import tarfile
from collections.abc import Iterator
from copy import copy
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from conclip.atomic_write import reporting_write_errors
from conclip.errors import UsageError, one_line
from conclip.public_names import is_local
from conclip.text_files import text_options

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, IterableDataset

FILE_FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".parquet": "parquet",
    ".txt": "text",
}
STREAMED_FORMATS = {**FILE_FORMATS, ".tar": "webdataset"}
TEXTS_AT_A_TIME = 10_000
# By default, `datasets` reads as many rows at a time as the first row group has, and fails if that is empty.
PARQUET_STREAM = {"batch_size": 1_000}
# Of columns, in a message.
MOST_NAMES = 12
IMAGE_SUFFIXES = frozenset(".jpg .jpeg .png .bmp .gif .webp .tif .tiff .ppm .pgm".split())


def load_split(dataset_name: str, dataset_config_name: str | None = None, split: str = "train") -> Dataset:
    """
    Load one split of a dataset.

    The cells of local CSV files are read as they are, as texts: "N/A" and "null" are captions like others.

    Args:
        dataset_name: Hub id, local folder (Parquet, JSON, CSV or images), or a .csv, .tsv, .json, .jsonl, .parquet or
            .txt file; of the last, each line that is not blank is a caption. Text files are in UTF-8; CSV files also
            in UTF-16 with a byte order mark, and separated by commas, semicolons or tabs.
        dataset_config_name: configuration of the dataset.
        split: as `load_dataset` takes it, e.g. "train" or "train[:100]".

    Raises:
        UsageError: there is no such dataset, configuration or split, the split has no rows, or a text file is in
            another encoding.
    """
    dataset = _load(dataset_name, dataset_config_name, split)
    if len(dataset) == 0:
        raise UsageError(f"--dataset_name {dataset_name}: the split {split!r} has no rows.")
    return dataset


def load_stream(dataset_name: str, dataset_config_name: str | None = None, split: str = "train") -> IterableDataset:
    """
    Open one split of a dataset as a stream: nothing is copied or downloaded before it is read.

    Args:
        dataset_name: as for `load_split`; also a .tar file in the layout of WebDataset, a folder of them, or a pattern
            of paths, such as "shards/*.tar". Text files are in UTF-8.
        dataset_config_name: configuration of the dataset.
        split: name of the split.

    Raises:
        UsageError: there is no such dataset, configuration or split.
    """
    return _load(dataset_name, dataset_config_name, split, streaming=True)


def split_names(dataset_name: str, dataset_config_name: str | None = None, streaming: bool = False) -> list[str]:
    """
    Return the names of a dataset's splits; a file is one split, "train".

    Raises:
        UsageError: there is no such dataset or configuration.
    """
    if Path(dataset_name).is_file() or (streaming and files_of_pattern(dataset_name)):
        return ["train"]
    return list(_load(dataset_name, dataset_config_name, None, streaming))


def files_of_pattern(dataset_name: str) -> list[Path]:
    """Return the files of a pattern of paths, by name; none if it is no pattern."""
    return [Path(name) for name in sorted(glob.glob(dataset_name))] if glob.has_magic(dataset_name) else []


def first_rows(dataset: Dataset, count: int | None) -> Dataset:
    """Return at most the first `count` rows, by default all."""
    return dataset if count is None else dataset.select(range(min(count, len(dataset))))


def source_row(dataset: Dataset, row: int) -> int:
    """Return the number that a row had before rows were selected, for messages."""
    return row if dataset._indices is None else dataset._indices.column(0)[row].as_py()


def with_columns(dataset: Dataset, columns: dict[str, list[list]], feature) -> Dataset:
    """
    Add columns of lists, or replace them.

    `Dataset.add_column` copies selected rows, and with them the bytes of their images; this copies no other column.

    Args:
        columns: name -> a list for each row.
        feature: the type of all these columns, as in `datasets.Features`.
    """
    rows = list(range(len(dataset))) if dataset._indices is None else dataset._indices.column(0).to_pylist()
    whole = copy(dataset)
    whole._indices = None
    for name, values in columns.items():
        of_all: list[list] = [[]] * len(whole)
        for row, value in zip(rows, values, strict=True):
            of_all[row] = value
        if name in whole.column_names:
            whole = whole.remove_columns(name)
        whole = whole.add_column(name, of_all, feature=feature)
    return whole.select(rows)


def _load(
    dataset_name: str, dataset_config_name: str | None, split: str | None, streaming: bool = False
) -> Dataset | DatasetDict | IterableDataset:
    # Imported late: it takes a second, which a list of image files does not need.
    from datasets import config, load_dataset
    from datasets.exceptions import DatasetGenerationError
    from datasets.utils import logging

    path = Path(dataset_name)
    files = files_of_pattern(dataset_name) if streaming else []
    if not path.exists() and not files and (is_local(dataset_name) or path.suffix in STREAMED_FORMATS):
        raise UsageError(f"--dataset_name {dataset_name}: there is no such file or folder.")
    # What fails is reported in one sentence; `datasets` would log it too, with its own temporary names.
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        with reporting_write_errors(Path(config.HF_DATASETS_CACHE)):
            if path.is_file() or files:
                return _load_files(files or [path], split, streaming)
            if streaming and not path.is_dir():
                return _stream_of_hub(dataset_name, dataset_config_name, split)
            options = folder_options(path, dataset_config_name, streaming) if path.is_dir() else {}
            return load_dataset(dataset_name, dataset_config_name, split=split, streaming=streaming, **options)
    except UsageError:
        raise
    # `datasets` reports a wrong path, configuration or split by many kinds of error; each says which.
    except Exception as error:
        # This one only says that something went wrong.
        cause = error.__cause__ or error if isinstance(error, DatasetGenerationError) else error
        if isinstance(cause, tarfile.TarError):
            raise UsageError(
                f"--dataset_name {dataset_name}: a .tar file is damaged ({one_line(cause)}): write it again."
            ) from error
        of_split = f", split {split!r}" if split else ""
        # What `datasets` says of a file without rows.
        if "corresponds to no data" in str(cause):
            raise UsageError(f"--dataset_name {dataset_name}: the split {split!r} has no rows.") from error
        card = path / "README.md"
        where = f"the metadata of {card} is damaged: " if hasattr(cause, "problem_mark") and card.is_file() else ""
        raise UsageError(f"--dataset_name {dataset_name}{of_split}: {where}{one_line(cause)}") from error
    finally:
        logging.set_verbosity(verbosity)


def _stream_of_hub(dataset_name: str, dataset_config_name: str | None, split: str | None) -> IterableDataset:
    from datasets import load_dataset_builder
    from datasets.packaged_modules.parquet.parquet import ParquetConfig

    builder = load_dataset_builder(dataset_name, dataset_config_name)
    # What `load_dataset` takes as options, once it is known that the files are Parquet.
    if isinstance(builder.config, ParquetConfig):
        for name, value in PARQUET_STREAM.items():
            setattr(builder.config, name, value)
    return builder.as_streaming_dataset(split=split)


def _load_files(paths: list[Path], split: str, streaming: bool) -> Dataset | IterableDataset:
    from datasets import load_dataset

    formats = STREAMED_FORMATS if streaming else FILE_FORMATS
    for path in paths:
        if path.suffix not in formats:
            tar = "; add --streaming to train on .tar files" if path.suffix == ".tar" else ""
            raise UsageError(f"--dataset_name {path}: a file has to end in {', '.join(formats)}{tar}.")
        if path.suffix != paths[0].suffix:
            raise UsageError(f"--dataset_name: {path} and {paths[0]} are of different formats; name files of one.")
        with path.open("rb") as file:
            if not file.read(4096).strip() and path.stat().st_size <= 4096:
                raise UsageError(f"--dataset_name {path}: the file is empty; it needs a row for each caption.")
    # The file is the whole of the split that is asked for; "train[:100]" is a part of "train".
    name = re.match(r"\w*", split).group() or "train"
    format = formats[paths[0].suffix]
    # JSON is checked while it is read: a stream may be too large to read it twice.
    options = {} if streaming and format == "json" else text_options(format, paths)
    if streaming and format == "parquet":
        options = PARQUET_STREAM
    names = {name: [*map(str, paths)]}
    dataset = load_dataset(format, data_files=names, split=split, streaming=streaming, **options)
    if format != "text":
        return dataset
    return dataset.filter(lambda row: bool(row["text"].strip())).rename_column("text", "caption")


def folder_options(folder: Path, dataset_config_name: str | None, streaming: bool = False) -> dict:
    """Return what `load_dataset` needs to read the text files of a folder, see `text_options`, or stream Parquet."""
    from datasets import load_dataset_builder
    from datasets.packaged_modules.csv.csv import CsvConfig
    from datasets.packaged_modules.json.json import JsonConfig
    from datasets.packaged_modules.parquet.parquet import ParquetConfig
    from datasets.packaged_modules.text.text import TextConfig

    config = load_dataset_builder(str(folder), dataset_config_name).config
    if streaming and isinstance(config, ParquetConfig):
        return PARQUET_STREAM
    formats = {CsvConfig: "csv", JsonConfig: "json", TextConfig: "text"}
    format = next((name for kind, name in formats.items() if isinstance(config, kind)), "")
    files = [Path(file) for paths in (config.data_files or {}).values() for file in paths]
    return text_options(format, [file for file in files if file.is_file()])


def data_folder(dataset_name: str) -> Path:
    """Return the folder of a local dataset, which the paths in it are relative to; otherwise the working directory."""
    path = Path(dataset_name)
    return path if path.is_dir() else path.parent if path.is_file() else Path()


def require_columns(dataset: Dataset, columns: dict[str, str], split: str) -> None:
    """
    Args:
        columns: option -> column name, e.g. {"--caption_column": "caption"}.

    Raises:
        UsageError: the dataset lacks one of the columns.
    """
    for option, column in columns.items():
        names = dataset.column_names
        if column not in names:
            listed = ", ".join(names[:MOST_NAMES])
            if len(names) > MOST_NAMES:
                listed += f" and {len(names) - MOST_NAMES:,} more"
            raise UsageError(f"{option} {column}: the split {split!r} has no such column, only {listed}.")


def text_lists(dataset: Dataset, column: str, split: str, may_be_empty: bool = False) -> list[list[str]]:
    """
    Read a column of texts, or of lists of texts, as one list for each row.

    Raises:
        UsageError: a text that is missing, blank or no text, or (unless `may_be_empty`) a row without any.
    """
    return list(text_rows(dataset, column, split, may_be_empty))


def text_rows(dataset: Dataset, column: str, split: str, may_be_empty: bool = False) -> Iterator[list[str]]:
    """Yield what `text_lists` returns, and hold a part of the rows in memory at a time."""
    tables = dataset.select_columns([column]).with_format("arrow").iter(TEXTS_AT_A_TIME)
    for index, value in enumerate(chain.from_iterable(table[column].to_pylist() for table in tables)):
        texts = value if isinstance(value, list) else [value]
        if not texts and not may_be_empty:
            row = source_row(dataset, index)
            raise UsageError(
                f"Split {split!r}, row {row}: {column} is an empty list: add a caption or remove the row."
            )
        for text in texts:
            if not isinstance(text, str) or not text.strip():
                row = source_row(dataset, index)
                raise UsageError(
                    f"Split {split!r}, row {row}: {column} holds {text!r}, not a caption: correct or remove the row."
                )
        yield texts


def pair_captions(captions: int, negated: int) -> list[tuple[int, int]]:
    """
    Pair the captions of a row with its negated captions: by index if there are as many of both, else each with each.

    Args:
        captions, negated: how many the row has.

    Returns:
        (index of the caption, index of the negated caption) of each pair, in order.
    """
    if captions == negated:
        return [(index, index) for index in range(captions)]
    return [(caption, negation) for caption in range(captions) for negation in range(negated)]


def image_files(folder: Path) -> list[Path]:
    """
    List the images directly in a folder, by name; empty if there is no such folder.

    A link that leads nowhere is one of them, so that whoever reads it says so; folders and pipes are not, nor are the
    files "._name" that macOS writes beside each file on other disks.

    Raises:
        UsageError: the path of an image is not UTF-8, which no table can hold.
    """
    found = sorted(
        path
        for path in Path(folder).glob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not path.name.startswith("._")
        and (path.is_file() or not path.exists())
    )
    for path in found:
        if any("\ud800" <= letter <= "\udfff" for letter in str(path)):
            raise UsageError(f"The name of the image {os.fsencode(path)!r} is not UTF-8: rename it.")
    return found
