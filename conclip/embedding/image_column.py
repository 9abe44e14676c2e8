"""The images of a dataset column as one flat sequence."""

import numpy as np
import PIL.Image
import torch
from datasets import Dataset

from conclip.embedding.image_hashes import StoredImages
from conclip.errors import UsageError, one_line


def open_image(dataset: Dataset, index: int, column: str, split: str):
    """
    Return the decoded value of one row of an image column: an image or a list of images.

    Raises:
        UsageError: the file cannot be decoded, or the value is not an image.
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
    The images of a column as one flat sequence.

    Args:
        split: name of the split, for messages.
        rows: int64, (images,), ascending: the row of each image; by default every row holds one image.
        places: int64, (images,), for a column of lists: the position of each image in the list of its row.
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
        """Return split, row and column of an image, to begin a message with."""
        return f"Split {self.split!r}, row {self.stored.rows[index]}: {self.stored.column}"
