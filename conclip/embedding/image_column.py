"""The images of a dataset column as one flat sequence."""

import numpy as np
import PIL.Image
import torch
from datasets import Dataset, Image

from conclip.data import source_row
from conclip.embedding.image_files import as_image_column, decode, read_encoded
from conclip.embedding.image_hashes import StoredImages
from conclip.embedding.image_modes import ImageError
from conclip.errors import UsageError


class ImageColumn(torch.utils.data.Dataset):
    """
    The images of a column as one flat sequence.

    Args:
        column: name of a column of images, or of paths, URLs or bytes, see `as_image_column`.
        split: name of the split, for messages.
        rows: int64, (images,), ascending: the row of each image; by default every row holds one image.
        places: int64, (images,), for a column of lists: the position of each image in the list of its row.

    Raises:
        UsageError: the column holds something else, or lists without `places`.
    """

    def __init__(
        self,
        dataset: Dataset,
        column: str,
        split: str,
        rows: np.ndarray | None = None,
        places: np.ndarray | None = None,
    ):
        # `ImageEmbedder.keys` keeps them here.
        self.split, self.keys = split, None
        rows = np.arange(len(dataset)) if rows is None else rows
        dataset = as_image_column(dataset.select_columns([column]), column)
        feature = dataset.features[column]
        if not isinstance(getattr(feature, "feature", feature), Image):
            held = getattr(feature, "dtype", None) or type(feature).__name__
            raise UsageError(f"Split {split!r}: {column} holds {held}; it has to hold images, paths, URLs or bytes.")
        if places is None and not isinstance(feature, Image):
            raise UsageError(f"Split {split!r}: {column} holds lists of images, not an image for each row.")
        self.stored = StoredImages(dataset, column, rows, places)

    def __len__(self) -> int:
        return len(self.stored.rows)

    def __getitem__(self, index: int) -> PIL.Image.Image:
        """
        Returns:
            The image in RGB.

        Raises:
            UsageError: the image cannot be read.
        """
        content, path = self.stored.value(index)
        try:
            return decode(read_encoded(content, path), self.stored.mode)
        except ImageError as error:
            what = f"{self.stored.column}: {error.naming(path)}"
            raise UsageError(f"Split {self.split!r}, row {self._row(index)}: cannot read {what}.") from error

    @property
    def name(self) -> str:
        """The name of the data and of the split, for `conclip cache`."""
        return " ".join(filter(None, [self.stored.dataset.info.dataset_name, self.split]))

    def where(self, index: int) -> str:
        """Return split, row and column of an image, to begin a message with."""
        return f"Split {self.split!r}, row {self._row(index)}: {self.stored.column}"

    def _row(self, index: int) -> int:
        return source_row(self.stored.dataset, int(self.stored.rows[index]))
