"""The images of a dataset column, one after the other."""

import numpy as np
import PIL.Image
import torch
from datasets import Dataset

from conclip.embedding.image_hashes import StoredImages
from conclip.errors import UsageError, one_line


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
