"""The captions to negate, and what else is said of their images: read from a dataset a piece at a time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import xxhash
from datasets import Dataset, Image, concatenate_datasets, load_dataset
from datasets.exceptions import DatasetGenerationError

from conclip.negation.pipeline.arguments import NegateArguments, NegateError

ROWS_AT_A_TIME = 10_000
_FILES = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}


@dataclass(frozen=True)
class Split:
    """Rows `first` to `last` (excluded) of the dataset."""

    name: str
    first: int
    last: int


class Source:
    """A dataset whose captions are numbered one after the other over all its rows.

    Constant memory but for 8 bytes a row, and 16 more with an image id column.

    Attributes:
        splits (`list[Split]`): in the order of the rows.
        offsets (`np.ndarray`): int64, (rows + 1,). The number of each row's first caption.
        digest (`str`): of all that the rows depend on.

    Raises:
        NegateError: no such dataset, split or column; a value that is no caption, with its row.
    """

    def __init__(self, arguments: NegateArguments):
        self.arguments = arguments
        self.dataset, self.splits = load_splits(arguments)
        columns = ("caption_column", "image_column", "image_id_column", "objects_column")
        for argument in columns:
            column = getattr(arguments, argument)
            if column is not None and column not in self.dataset.column_names:
                raise NegateError(
                    f"--{argument} {column}: {arguments.dataset_name} has no such column, only "
                    f"{', '.join(self.dataset.column_names)}."
                )
        texts = [name for name in (arguments.caption_column, arguments.image_id_column, arguments.objects_column)]
        self._texts = self.dataset.select_columns([name for name in texts if name]).with_format("arrow")
        self.offsets, self._groups, self.digest = self._check()
        if arguments.image_column:
            images = self.dataset.select_columns([arguments.image_column])
            if isinstance(images.features[arguments.image_column], Image):
                images = images.cast_column(arguments.image_column, Image(decode=False))
            self._images = images.with_format("arrow")

    @property
    def num_captions(self) -> int:
        return int(self.offsets[-1])

    def place(self, caption: int) -> tuple[int, int]:
        """The row of a caption, and its number within the row."""
        row = int(np.searchsorted(self.offsets, caption, side="right")) - 1
        return row, caption - int(self.offsets[row])

    def where(self, row: int) -> str:
        """The split and row within it, for messages: "split 'train', row 3"."""
        split = next(split for split in self.splits if split.first <= row < split.last)
        return f"split {split.name!r}, row {row - split.first}"

    def captions(self, first: int, last: int) -> list[str]:
        """Captions number `first` to `last` (excluded)."""
        if first >= last:
            return []
        row, skipped = self.place(first)
        lists = self._lists(row, self.place(last - 1)[0] + 1, self.arguments.caption_column)
        limit = self.arguments.captions_per_row
        return list(chain.from_iterable(texts[:limit] for texts in lists))[skipped : skipped + last - first]

    def said(self, captions: Sequence[int]) -> list[tuple[list[str], list[str]]]:
        """All captions of the image of each of `captions` (numbers, ascending), and the names of its objects."""
        rows = [self.place(caption)[0] for caption in captions]
        if not rows:
            return []
        if self._groups is None and rows[-1] - rows[0] < 4 * len(rows):
            first = rows[0]
            texts = self._lists(first, rows[-1] + 1, self.arguments.caption_column)
            labels = self._labels(first, rows[-1] + 1)
            return [(texts[row - first], labels[row - first] if labels else []) for row in rows]
        known: dict[int, tuple[list[str], list[str]]] = {}
        for row in rows:
            if row not in known:
                known[row] = self._said_of_group(row)
        return [known[row] for row in rows]

    def _said_of_group(self, row: int) -> tuple[list[str], list[str]]:
        texts, labels = [], []
        for other in self._group(row):
            texts += self._lists(other, other + 1, self.arguments.caption_column)[0]
            labels += chain.from_iterable(self._labels(other, other + 1) or ())
        return texts, labels

    def _group(self, row: int) -> list[int]:
        if self._groups is None:
            return [row]
        ids, order, ordered = self._groups
        first, last = np.searchsorted(ordered, ids[row]), np.searchsorted(ordered, ids[row], side="right")
        # One image with very many captions is a mistake in the ids as a rule, and a hundred say enough.
        return order[first : min(last, first + 100)].tolist()

    def images(self, rows: Sequence[int]) -> list[dict]:
        """The image of each row as {"bytes", "path"}, as it is stored: nothing is decoded. `rows` ascend."""
        column = self.arguments.image_column
        values = dict.fromkeys(rows)
        found = self._images[list(values)][column].to_pylist()
        values.update({row: self._image(value, row) for row, value in zip(values, found, strict=True)})
        return [values[row] for row in rows]

    def _image(self, value, row: int) -> dict:
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (None, value)
        if content is None:
            if not isinstance(path, str) or not path:
                raise NegateError(f"{self._row(row)}: {self.arguments.image_column} holds no image and no path.")
            try:
                content = (Path(self.arguments.image_dir) / path).read_bytes()
            except OSError as error:
                raise NegateError(
                    f"{self._row(row)}: the image {path} cannot be read ({error.strerror}); --image_dir is the folder "
                    "that paths are relative to."
                ) from error
        return {"bytes": content, "path": Path(path).name if path else None}

    def _row(self, row: int) -> str:
        return f"{self.arguments.dataset_name}, {self.where(row)}"

    def _lists(self, first: int, last: int, column: str) -> list[list[str]]:
        values = self._texts[first:last][column].to_pylist()
        return [value if isinstance(value, list) else [value] for value in values]

    def _labels(self, first: int, last: int) -> list[list[str]]:
        column = self.arguments.objects_column
        return [[] if labels == [None] else labels for labels in self._lists(first, last, column)] if column else []

    def _check(self) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray] | None, str]:
        """Reads all text once."""
        arguments, rows = self.arguments, len(self.dataset)
        counts, hasher = np.zeros(rows + 1, np.int64), xxhash.xxh3_128()
        ids = np.zeros(rows, np.uint64) if arguments.image_id_column else None
        for first in range(0, rows, ROWS_AT_A_TIME):
            last = min(first + ROWS_AT_A_TIME, rows)
            for row, texts in enumerate(self._lists(first, last, arguments.caption_column), first):
                self._check_texts(texts, row, "a caption")
                counts[row + 1] = len(texts[: arguments.captions_per_row])
                # No text holds these bytes.
                hasher.update(b"\xff".join(text.encode("utf-8", "surrogatepass") for text in texts) + b"\xfe")
            for row, labels in enumerate(self._labels(first, last), first):
                if not all(isinstance(label, str) for label in labels):
                    raise NegateError(f"{self._row(row)}: {arguments.objects_column} holds {labels!r}, not names.")
                hasher.update("\0".join(labels).encode("utf-8", "surrogatepass") + b"\xfe")
            if ids is not None:
                values = self._texts[first:last][arguments.image_id_column].to_pylist()
                ids[first:last] = [xxhash.xxh3_64_intdigest(repr(value).encode()) for value in values]
                hasher.update(ids[first:last])
        return counts.cumsum(), None if ids is None else self._check_groups(ids), hasher.hexdigest()

    def _check_texts(self, texts: list, row: int, what: str) -> None:
        for text in texts or [None]:
            if not isinstance(text, str) or not text.strip():
                held = "is empty" if text is None or isinstance(text, str) else f"holds {text!r}, not {what}"
                raise NegateError(
                    f"{self._row(row)} (the first is row 0): {self.arguments.caption_column} {held}; correct or "
                    "remove the row."
                )

    def _check_groups(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        order = np.argsort(ids, kind="stable")
        for split in self.splits[:-1]:
            both = np.intersect1d(ids[split.first : split.last], ids[split.last :])
            if len(both):
                row = int(np.flatnonzero(np.isin(ids[split.first : split.last], both))[0]) + split.first
                raise NegateError(
                    f"{self._row(row)}: another split has captions of its image too; change --test_size or the splits."
                )
        return ids, order, ids[order]


def load_splits(arguments: NegateArguments) -> tuple[Dataset, list[Split]]:
    """All splits asked for as one dataset, and where each lies in it; the test split is cut off the end."""
    parts, splits, first = [], [], 0
    for wanted in arguments.dataset_split:
        name = re.match(r"\w*", wanted).group() or "train"
        parts.append(_load(arguments, wanted, name))
        if not len(parts[-1]):
            raise NegateError(f"{arguments.dataset_name}: the split {wanted!r} has no rows.")
        splits.append(Split(name, first, first + len(parts[-1])))
        first = splits[-1].last
    if arguments.test_size:
        if arguments.test_size >= first:
            raise NegateError(f"--test_size {arguments.test_size}: the split has {first} rows in all; take fewer.")
        cut = first - arguments.test_size
        splits = [Split(splits[0].name, 0, cut), Split("test", cut, first)]
    names = [split.name for split in splits]
    if len(set(names)) < len(names):
        raise NegateError(f"--dataset_split: two splits would both be written as {names[-1]!r}; choose others.")
    return (concatenate_datasets(parts) if len(parts) > 1 else parts[0]), splits


def _load(arguments: NegateArguments, wanted: str, name: str) -> Dataset:
    path = Path(arguments.dataset_name)
    try:
        if path.is_file():
            if path.suffix not in _FILES:
                raise NegateError(f"--dataset_name {path}: a file has to end in {', '.join(_FILES)}.")
            return load_dataset(_FILES[path.suffix], data_files={name: str(path)}, split=wanted)
        return load_dataset(arguments.dataset_name, arguments.dataset_config_name, split=wanted)
    except NegateError:
        raise
    # `datasets` reports a wrong path, configuration or split by many kinds of error; each says which.
    except Exception as error:
        told = error.__cause__ or error if isinstance(error, DatasetGenerationError) else error
        line = next((line.strip() for line in str(told).splitlines() if line.strip()), type(told).__name__)
        raise NegateError(f"--dataset_name {arguments.dataset_name}, split {wanted!r}: {line}") from error
