"""The splits and their columns: texts as lists, images one after the other."""

import numpy as np
import PIL.Image
import torch
from datasets import Dataset, load_dataset
from datasets.exceptions import DatasetGenerationError

from conclip_training.arguments import DataArguments
from conclip_training.failures import UsageError, one_line
from dataset_scripts.image_keys import StoredImages
from dataset_scripts.scenes import load_scenes


def load_split(arguments: DataArguments, split: str, max_samples: int | None) -> Dataset:
    """A split of the dataset the arguments name, or of the drawn scenes."""
    if arguments.dataset_name is None:
        dataset = load_scenes(split)
    else:
        try:
            dataset = load_dataset(arguments.dataset_name, arguments.dataset_config_name, split=split)
        # `datasets` reports a wrong path, configuration or split by many kinds of error; each says which.
        except Exception as error:
            # This one only says that something went wrong.
            told = error.__cause__ or error if isinstance(error, DatasetGenerationError) else error
            raise UsageError(f"--dataset_name {arguments.dataset_name}, split {split!r}: {one_line(told)}") from error
    if len(dataset) == 0:
        raise UsageError(f"--dataset_name {arguments.dataset_name}: the split {split!r} has no rows.")
    return dataset if max_samples is None else dataset.select(range(min(max_samples, len(dataset))))


def require_columns(dataset: Dataset, columns: dict[str, str], split: str) -> None:
    """
    Args:
        columns: argument name -> column name, e.g. {"--caption_column": "caption"}.
    """
    for argument, column in columns.items():
        if column not in dataset.column_names:
            raise UsageError(
                f"{argument} {column}: the split {split!r} has no such column, only {', '.join(dataset.column_names)}."
            )


def text_lists(dataset: Dataset, column: str, split: str, may_be_empty: bool = False) -> list[list[str]]:
    """
    The texts of a column as one list a row, whether the column holds a text or a list of texts.

    Raises:
        UsageError: a text that is missing, blank or no text, or (unless `may_be_empty`) a row without any.
    """
    values = dataset.select_columns([column]).with_format("arrow")[:][column].to_pylist()
    rows = [value if isinstance(value, list) else [value] for value in values]
    for index, texts in enumerate(rows):
        if not texts and not may_be_empty:
            raise UsageError(f"Split {split!r}, row {index}: {column} is an empty list; it needs a caption.")
        for text in texts:
            if not isinstance(text, str) or not text.strip():
                raise UsageError(f"Split {split!r}, row {index}: {column} holds {text!r}, not a caption.")
    return rows


def open_image(dataset: Dataset, index: int, column: str, split: str):
    """
    The decoded value of an image column, an image or a list of images.

    Raises:
        UsageError: a file that cannot be decoded, or anything but an image.
    """
    try:
        value = dataset[index][column]
    # Pillow raises OSError, SyntaxError, ValueError and others for files it cannot decode.
    except Exception as error:
        raise UsageError(f"Split {split!r}, row {index}: cannot read {column}: {one_line(error)}") from error
    for image in value if isinstance(value, list) else [value]:
        if not isinstance(image, PIL.Image.Image):
            raise UsageError(
                f"Split {split!r}, row {index}: {column} holds {type(image).__name__}, not an image; a column of "
                "paths or bytes becomes images by `dataset.cast_column(name, datasets.Image())`."
            )
    return value


class ImageColumn(torch.utils.data.Dataset):
    """
    The images of a column, one after the other.

    Args:
        rows: int64, (images,), ascending: the row of each image; all rows by default.
        places: int64, (images,), where the column holds lists: the index of each image in the list of its row.
    """

    def __init__(
        self,
        dataset: Dataset,
        column: str,
        split: str,
        rows: np.ndarray | None = None,
        places: np.ndarray | None = None,
    ):
        self.split = split
        rows = np.arange(len(dataset)) if rows is None else rows
        self.stored = StoredImages(dataset.select_columns([column]), column, rows, places)

    def __len__(self) -> int:
        return len(self.stored.rows)

    def __getitem__(self, index: int) -> PIL.Image.Image:
        stored, row = self.stored, int(self.stored.rows[index])
        value = open_image(stored.dataset, row, stored.column, self.split)
        if stored.places is not None:
            return value[stored.places[index]]
        if isinstance(value, list):
            raise UsageError(f"{self.where(index)} holds a list of images, not an image.")
        return value

    def where(self, index: int) -> str:
        """The split, row and column of an image, the beginning of a sentence about it."""
        return f"Split {self.split!r}, row {self.stored.rows[index]}: {self.stored.column}"
