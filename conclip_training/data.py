"""The splits, their columns, and the rows training reads from them."""

import random

import PIL.Image
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


class PairRows(torch.utils.data.Dataset):
    """
    Rows for `PairCollator`. Of several negated captions each epoch takes one, chosen by seed, epoch and row; its
    distractor is the one at the same index where there are as many, else the first.

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
        self.image_column, self.distractor_column = data.image_column, columns.get("--distractor_image_column")
        self.images = dataset.select_columns([self.image_column])
        self.captions = [texts[0] for texts in text_lists(dataset, data.caption_column, self.split)]
        self.negated = None
        if loss in NEGATED_LOSSES:
            self.negated = text_lists(dataset, data.negated_caption_column, self.split)
        if self.distractor_column:
            self.distractors = dataset.select_columns([self.distractor_column])
            self._require_distractors()

    def _require_distractors(self) -> None:
        values = self.distractors.with_format("arrow")[:][self.distractor_column]
        for index, value in enumerate(values):
            if not value.is_valid or (hasattr(value, "values") and len(value) == 0):
                raise UsageError(
                    f"Split {self.split!r}, row {index}: {self.distractor_column} is empty. "
                    "Give every row a distractor image, or train without them: --loss negclip."
                )

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, index: int) -> dict:
        row = {
            "image": open_image(self.images, index, self.image_column, self.split),
            "caption": self.captions[index],
        }
        if self.negated is None:
            return row
        negated = self.negated[index]
        choice = random.Random(f"{self.seed}-{self.epoch}-{index}").randrange(len(negated))
        row["negated_caption"] = negated[choice]
        if self.distractor_column:
            distractors = open_image(self.distractors, index, self.distractor_column, self.split)
            if isinstance(distractors, list):
                distractors = distractors[choice if len(distractors) == len(negated) else 0]
            row["distractor_image"] = distractors
        return row
