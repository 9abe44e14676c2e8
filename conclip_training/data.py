"""The splits, their columns, and the rows training reads from them."""

import random
from collections.abc import Callable

import PIL.Image
import pyarrow as pa
import torch
from datasets import Dataset, load_dataset
from datasets.exceptions import DatasetGenerationError

from conclip_training.arguments import Arguments, DataArguments
from conclip_training.failures import UsageError, one_line
from dataset_scripts.scenes import load_scenes

# What each loss reads of a row, beside image and caption.
NEGATED_LOSSES = ("conclip", "negclip")
DISTRACTOR_LOSSES = ("conclip",)


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
        at: for each image its row and, where the column holds lists, its index in the list; all rows by default.
    """

    def __init__(self, dataset: Dataset, column: str, split: str, at: list[tuple[int, int | None]] | None = None):
        self.dataset, self.column, self.split = dataset.select_columns([column]), column, split
        self.at = at or [(row, None) for row in range(len(dataset))]

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, index: int) -> PIL.Image.Image:
        row, place = self.at[index]
        value = open_image(self.dataset, row, self.column, self.split)
        return value if place is None else value[place]


class PairRows(torch.utils.data.Dataset):
    """
    Rows for `PairCollator`. Of several negated captions each epoch takes one, chosen by seed, epoch and row; its
    distractor is the one at the same index where there are as many, else the first.

    Rows hold images until `use_tensors` has put tensors in their place.

    Raises:
        UsageError: a missing column, a blank text, or a row without what the loss needs.
    """

    def __init__(self, dataset: Dataset, arguments: Arguments):
        data, loss = arguments.data, arguments.model.loss
        self.split, self.seed, self.epoch = data.train_split_name, arguments.training.seed, 0
        columns = {"--image_column": data.image_column, "--caption_column": data.caption_column}
        if loss in NEGATED_LOSSES:
            columns["--negated_caption_column"] = data.negated_caption_column
        if loss in DISTRACTOR_LOSSES:
            columns["--distractor_image_column"] = data.distractor_image_column
        require_columns(dataset, columns, self.split)
        self.captions = [texts[0] for texts in text_lists(dataset, data.caption_column, self.split)]
        self.negated = None
        if loss in NEGATED_LOSSES:
            self.negated = text_lists(dataset, data.negated_caption_column, self.split)
        self.images = ImageColumn(dataset, data.image_column, self.split)
        self.distractors = None
        if loss in DISTRACTOR_LOSSES:
            self.distractors = self._distractor_images(dataset, data.distractor_image_column)
        self.tensor_name, self.image_tensors, self.distractor_tensors = None, None, None

    def _distractor_images(self, dataset: Dataset, column: str) -> ImageColumn:
        """Those that may be read; `self.first_distractor` says where those of each row begin among them."""
        at, self.first_distractor = [], []
        values = dataset.select_columns([column]).with_format("arrow")[:][column]
        listed = pa.types.is_list(values.type) or pa.types.is_large_list(values.type)
        for row, value in enumerate(values):
            if not value.is_valid or (listed and len(value) == 0):
                raise UsageError(
                    f"Split {self.split!r}, row {row}: {column} is empty. "
                    "Give every row a distractor image, or train without them: --loss negclip."
                )
            self.first_distractor.append(len(at))
            paired = listed and len(value) == len(self.negated[row])
            at += [(row, place) for place in range(len(value) if paired else 1)] if listed else [(row, None)]
        return ImageColumn(dataset, column, self.split, at)

    def use_tensors(self, name: str, compute: Callable[[ImageColumn, str], torch.Tensor]) -> None:
        """
        Args:
            name: what the tensors are to `ConCLIPModel.forward`, "image_embeds" or "pixel_values".
            compute: takes images and what to call them in a progress bar, gives a tensor with a row for each.
        """
        self.tensor_name = name
        self.image_tensors = compute(self.images, "images")
        if self.distractors is not None:
            self.distractor_tensors = compute(self.distractors, "distractors")

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, index: int) -> dict:
        row = {"caption": self.captions[index], **self._image("image", self.images, self.image_tensors, index)}
        if self.negated is None:
            return row
        negated = self.negated[index]
        choice = random.Random(f"{self.seed}-{self.epoch}-{index}").randrange(len(negated))
        row["negated_caption"] = negated[choice]
        if self.distractors is not None:
            bounds = self.first_distractor[index : index + 2] + [len(self.distractors)]
            at = bounds[0] + (choice if bounds[1] - bounds[0] == len(negated) else 0)
            row.update(self._image("distractor_image", self.distractors, self.distractor_tensors, at))
        return row

    def _image(self, name: str, images: ImageColumn, tensors: torch.Tensor | None, index: int) -> dict:
        if tensors is None:
            return {name: images[index]}
        return {f"{name.removesuffix('image')}{self.tensor_name}": tensors[index]}
