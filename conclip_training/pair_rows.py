"""The rows training reads."""

import random
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset

from conclip_training.arguments import Arguments
from conclip_training.data import ImageColumn, require_columns, text_lists
from conclip_training.failures import UsageError
from dataset_scripts.embeddings import ImageEmbeds

# What each loss reads of a row, beside image and caption.
NEGATED_LOSSES = ("conclip", "negclip")
DISTRACTOR_LOSSES = ("conclip",)


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
        rows, places, self.first_distractor = [], [], []
        values = dataset.select_columns([column]).with_format("arrow")[:][column]
        listed = pa.types.is_list(values.type) or pa.types.is_large_list(values.type)
        for row, value in enumerate(values):
            if not value.is_valid or (listed and len(value) == 0):
                raise UsageError(
                    f"Split {self.split!r}, row {row}: {column} is empty. "
                    "Give every row a distractor image, or train without them: --loss negclip."
                )
            self.first_distractor.append(len(rows))
            count = len(value) if listed and len(value) == len(self.negated[row]) else 1
            rows += [row] * count
            places += range(count)
        return ImageColumn(dataset, column, self.split, np.array(rows), np.array(places) if listed else None)

    def use_tensors(self, name: str, compute: Callable[[ImageColumn, str], torch.Tensor | ImageEmbeds]) -> None:
        """
        Args:
            name: what the tensors are to `ConCLIPModel.forward`, "image_embeds" or "pixel_values".
            compute: takes images and what to call them in a progress bar, gives what has a tensor at each index.
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

    def _image(self, name: str, images: ImageColumn, tensors: torch.Tensor | ImageEmbeds | None, index: int) -> dict:
        if tensors is None:
            return {name: images[index]}
        return {f"{name.removesuffix('image')}{self.tensor_name}": tensors[index]}
