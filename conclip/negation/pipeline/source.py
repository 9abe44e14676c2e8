"""The captions to negate, and what else is known of their images: read from a dataset a piece at a time."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import xxhash
from datasets import Dataset, Image, Value, concatenate_datasets

from conclip.data import data_folder, load_split, require_columns
from conclip.embedding.image_files import as_image_column, read_encoded
from conclip.embedding.image_modes import ImageError, require_image
from conclip.errors import UsageError

ROWS_AT_A_TIME = 10_000


@dataclass(frozen=True)
class Split:
    """Rows `first` to `last` (excluded) of the dataset."""

    name: str
    first: int
    last: int


class Source:
    """
    A dataset whose captions are numbered one after the other over all its rows.

    Memory does not grow with the dataset but for 8 bytes a row, and 16 more with an image id column.

    Args:
        dataset_name, dataset_config_name: as for `conclip.data.load_split`; or the rows of the split themselves.
        splits: splits to read, e.g. "train" or "train[:100]".
        caption_column: a text, or a list of texts that are all true of the image.
        image_column: images, or paths, URLs or bytes of images, see `as_image_column`.
        image_dir: the folder that relative paths are relative to, by default that of the dataset.
        image_id_column: rows with the same value show the same image; by default `image_column`, if it holds paths.
        objects_column: labels of objects in the image, a text or a list.
        captions_per_row: take only the first captions of a list.
        test_size: rows at the end of a single split that become the split "test".

    Attributes:
        splits (`list[Split]`): in the order of the rows.
        offsets (`np.ndarray`): int64, (rows + 1,). The number of each row's first caption.
        digest (`str`): of all that the rows depend on.

    Raises:
        UsageError: no such dataset, split or column; a value that is no caption, with its row.
    """

    def __init__(
        self,
        dataset_name: str | Dataset,
        splits: Sequence[str] = ("train",),
        *,
        dataset_config_name: str | None = None,
        caption_column: str = "caption",
        image_column: str | None = None,
        image_dir: str = "",
        image_id_column: str | None = None,
        objects_column: str | None = None,
        captions_per_row: int | None = None,
        test_size: int = 0,
    ):
        self.dataset_name, self.caption_column, self.image_column = dataset_name, caption_column, image_column
        self.objects_column, self.captions_per_row = objects_column, captions_per_row
        self.dataset, self.splits = load_splits(dataset_name, dataset_config_name, splits, test_size)
        columns = {
            "--caption_column": caption_column,
            "--image_column": image_column,
            "--image_id_column": image_id_column,
            "--objects_column": objects_column,
        }
        require_columns(self.dataset, {option: name for option, name in columns.items() if name}, splits[0])
        if image_column and not image_id_column and self.dataset.features[image_column] == Value("string"):
            image_id_column = image_column
        self.image_id_column = image_id_column
        texts = [name for name in (caption_column, image_id_column, objects_column) if name]
        self._texts = self.dataset.select_columns(texts).with_format("arrow")
        self.offsets, self._groups, self.digest = self._check()
        if image_column:
            images = self.dataset.select_columns([image_column])
            images = as_image_column(images, image_column, image_dir or data_folder(dataset_name))
            if not isinstance(images.features[image_column], Image):
                raise UsageError(f"--image_column {image_column} holds no images, paths, URLs or bytes.")
            self._images = images.with_format("arrow")

    @property
    def num_captions(self) -> int:
        return int(self.offsets[-1])

    def place(self, caption: int) -> tuple[int, int]:
        """Return the row of a caption, and its number within the row."""
        row = int(np.searchsorted(self.offsets, caption, side="right")) - 1
        return row, caption - int(self.offsets[row])

    def where(self, row: int) -> str:
        """Return the split and the row within it, for messages: "split 'train', row 3"."""
        split = next(split for split in self.splits if split.first <= row < split.last)
        return f"split {split.name!r}, row {row - split.first}"

    def captions(self, first: int, last: int) -> list[str]:
        """Return the captions with the numbers `first` to `last` (excluded)."""
        if first >= last:
            return []
        row, skipped = self.place(first)
        lists = self._lists(row, self.place(last - 1)[0] + 1, self.caption_column)
        limit = self.captions_per_row
        return list(chain.from_iterable(texts[:limit] for texts in lists))[skipped : skipped + last - first]

    def all_captions(self) -> Iterator[str]:
        """Yield the captions in their order; only some of them are in memory at a time."""
        for first in range(0, self.num_captions, ROWS_AT_A_TIME):
            yield from self.captions(first, min(first + ROWS_AT_A_TIME, self.num_captions))

    def image_texts(self, captions: Sequence[int]) -> list[tuple[list[str], list[str]]]:
        """Return all captions of the image of each caption (numbers, ascending), and the labels of its objects."""
        rows = [self.place(caption)[0] for caption in captions]
        if not rows:
            return []
        if self._groups is None and rows[-1] - rows[0] < 4 * len(rows):
            first = rows[0]
            texts = self._lists(first, rows[-1] + 1, self.caption_column)
            labels = self._labels(first, rows[-1] + 1)
            return [(texts[row - first], labels[row - first] if labels else []) for row in rows]
        known: dict[int, tuple[list[str], list[str]]] = {}
        for row in rows:
            if row not in known:
                known[row] = self._texts_of_group(row)
        return [known[row] for row in rows]

    def _texts_of_group(self, row: int) -> tuple[list[str], list[str]]:
        texts, labels = [], []
        for other in self._group(row):
            texts += self._lists(other, other + 1, self.caption_column)[0]
            labels += chain.from_iterable(self._labels(other, other + 1) or ())
        return texts, labels

    def _group(self, row: int) -> list[int]:
        if self._groups is None:
            return [row]
        ids, order, ordered = self._groups
        first, last = np.searchsorted(ordered, ids[row]), np.searchsorted(ordered, ids[row], side="right")
        # Very many captions of one image are most often a mistake in the ids; a hundred are enough.
        return order[first : min(last, first + 100)].tolist()

    def images(self, rows: Sequence[int]) -> list[dict]:
        """Return the stored, encoded image of each row as {"bytes", "path"}. `rows` ascend."""
        column = self.image_column
        values = dict.fromkeys(rows)
        found = self._images[list(values)][column].to_pylist()
        values.update({row: self._image(value, row) for row, value in zip(values, found, strict=True)})
        return [values[row] for row in rows]

    def _image(self, value: dict | None, row: int) -> dict:
        content, path = (value["bytes"], value["path"]) if value else (None, None)
        try:
            content = read_encoded(content, path)
            # Any other file that a dataset names would be published with the folder.
            require_image(content)
        except ImageError as error:
            what = f"{self.image_column}: {error.naming(path)}"
            if isinstance(error.__cause__, FileNotFoundError):
                what += "; --image_dir is the folder that paths are relative to"
            raise UsageError(f"{self._row(row)}: cannot read {what}.") from error
        return {"bytes": content, "path": Path(urlsplit(path).path).name if path else None}

    def _row(self, row: int) -> str:
        return f"{self.dataset_name}, {self.where(row)}"

    def _lists(self, first: int, last: int, column: str) -> list[list[str]]:
        values = self._texts[first:last][column].to_pylist()
        return [value if isinstance(value, list) else [value] for value in values]

    def _labels(self, first: int, last: int) -> list[list[str]]:
        column = self.objects_column
        return [[] if labels == [None] else labels for labels in self._lists(first, last, column)] if column else []

    def _check(self) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray] | None, str]:
        """Read all texts once: offsets, groups of rows with the same image, and the digest."""
        rows = len(self.dataset)
        counts, hasher = np.zeros(rows + 1, np.int64), xxhash.xxh3_128()
        ids = np.zeros(rows, np.uint64) if self.image_id_column else None
        for first in range(0, rows, ROWS_AT_A_TIME):
            last = min(first + ROWS_AT_A_TIME, rows)
            for row, texts in enumerate(self._lists(first, last, self.caption_column), first):
                self._check_texts(texts, row, "a caption")
                counts[row + 1] = len(texts[: self.captions_per_row])
                # No text holds these bytes.
                hasher.update(b"\xff".join(text.encode("utf-8", "surrogatepass") for text in texts) + b"\xfe")
            for row, labels in enumerate(self._labels(first, last), first):
                if not all(isinstance(label, str) for label in labels):
                    raise UsageError(
                        f"{self._row(row)}: {self.objects_column} holds {labels!r}, not names; correct it."
                    )
                hasher.update("\0".join(labels).encode("utf-8", "surrogatepass") + b"\xfe")
            if ids is not None:
                values = self._texts[first:last][self.image_id_column].to_pylist()
                ids[first:last] = [xxhash.xxh3_64_intdigest(repr(value).encode()) for value in values]
                hasher.update(ids[first:last])
        return counts.cumsum(), None if ids is None else self._check_groups(ids), hasher.hexdigest()

    def _check_texts(self, texts: list, row: int, what: str) -> None:
        for text in texts or [None]:
            if not isinstance(text, str) or not text.strip():
                held = "is empty" if text is None or isinstance(text, str) else f"holds {text!r}, not {what}"
                raise UsageError(
                    f"{self._row(row)} (the first is row 0): {self.caption_column} {held}; correct or remove the row."
                )

    def _check_groups(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        order = np.argsort(ids, kind="stable")
        if len(np.unique(ids)) == len(ids):
            return None
        for split in self.splits[:-1]:
            both = np.intersect1d(ids[split.first : split.last], ids[split.last :])
            if len(both):
                row = int(np.flatnonzero(np.isin(ids[split.first : split.last], both))[0]) + split.first
                raise UsageError(
                    f"{self._row(row)}: another split has captions of its image too; change --test_size or the splits."
                )
        return ids, order, ids[order]


def load_splits(
    dataset_name: str | Dataset, dataset_config_name: str | None, wanted: Sequence[str], test_size: int
) -> tuple[Dataset, list[Split]]:
    """Return all splits as one dataset, and where each lies in it; the test split is cut off the end."""
    parts, splits, first = [], [], 0
    for split in wanted:
        in_memory = isinstance(dataset_name, Dataset)
        parts.append(dataset_name if in_memory else load_split(dataset_name, dataset_config_name, split))
        splits.append(Split(re.match(r"\w*", split).group() or "train", first, first + len(parts[-1])))
        first = splits[-1].last
    if test_size:
        if test_size >= first:
            raise UsageError(f"--test_size {test_size}: the split has {first} rows in all; choose fewer.")
        cut = first - test_size
        splits = [Split(splits[0].name, 0, cut), Split("test", cut, first)]
    names = [split.name for split in splits]
    if len(set(names)) < len(names):
        raise UsageError(f"--split: two splits would both be written as {names[-1]!r}; choose others.")
    return (concatenate_datasets(parts) if len(parts) > 1 else parts[0]), splits
