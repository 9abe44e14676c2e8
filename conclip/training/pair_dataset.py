"""The rows training reads."""

from collections.abc import Callable
from itertools import chain

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset

from conclip.data import require_columns, text_lists
from conclip.embedding.image_column import ImageColumn
from conclip.embedding.store import StoredEmbeddings
from conclip.embedding.tokens import TextTokens
from conclip.errors import UsageError
from conclip.training.arguments import Arguments

# What each loss reads of a row, beside image and caption.
NEGATED_LOSSES = ("conclip", "negclip")
DISTRACTOR_LOSSES = ("conclip",)


class PairRows(torch.utils.data.Dataset):
    """
    Rows for `PairCollator`, many at a time. Of several negated captions each epoch takes one, chosen by seed, epoch
    and row; its distractor is the one at the same index where there are as many, else the first.

    Rows hold images until `use_tensors` has put tensors in their place.

    Args:
        tokenize: takes all texts, gives their tokens.

    Raises:
        UsageError: a missing column, a blank text, or a row without what the loss needs.
    """

    def __init__(self, dataset: Dataset, arguments: Arguments, tokenize: Callable[[list[str]], TextTokens]):
        data, loss = arguments.data, arguments.model.loss
        self.split, self.seed = data.train_split_name, arguments.training.seed
        columns = {"--image_column": data.image_column, "--caption_column": data.caption_column}
        if loss in NEGATED_LOSSES:
            columns["--negated_caption_column"] = data.negated_caption_column
        if loss in DISTRACTOR_LOSSES:
            columns["--distractor_image_column"] = data.distractor_image_column
        require_columns(dataset, columns, self.split)
        captions = [texts[0] for texts in text_lists(dataset, data.caption_column, self.split)]
        self.size, self.negations, negated = len(captions), None, []
        if loss in NEGATED_LOSSES:
            negated = text_lists(dataset, data.negated_caption_column, self.split)
            self.negations = np.array([len(texts) for texts in negated])
        self.images = ImageColumn(dataset, data.image_column, self.split)
        self.distractors = None
        if loss in DISTRACTOR_LOSSES:
            self.distractors = self._distractor_images(dataset, data.distractor_image_column)
        self.tokens = tokenize([*captions, *chain.from_iterable(negated)])
        self.tensor_name, self.image_tensors, self.distractor_tensors = None, None, None
        self.set_epoch(0)

    def _distractor_images(self, dataset: Dataset, column: str) -> ImageColumn:
        """Those that may be read; `self.distractor_counts` says how many of them belong to each row."""
        rows, places = [], []
        values = dataset.select_columns([column]).with_format("arrow")[:][column]
        listed = pa.types.is_list(values.type) or pa.types.is_large_list(values.type)
        counts = []
        for row, value in enumerate(values):
            if not value.is_valid or (listed and len(value) == 0):
                raise UsageError(
                    f"Split {self.split!r}, row {row}: {column} is empty. "
                    "Give every row a distractor image, or train without them: --loss negclip."
                )
            paired = listed and len(value) == self.negations[row]
            counts.append(len(value) if paired else 1)
            rows += [row] * counts[-1]
            places += range(counts[-1])
        self.distractor_counts = np.array(counts)
        return ImageColumn(dataset, column, self.split, np.array(rows), np.array(places) if listed else None)

    def use_tensors(self, name: str, compute: Callable[[ImageColumn, str], torch.Tensor | StoredEmbeddings]) -> None:
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
        """Chooses the negated caption and the distractor of each row."""
        if self.negations is None:
            return
        drawn = np.random.default_rng([self.seed, epoch]).random(self.size)
        chosen = (drawn * self.negations).astype(np.int64)
        self.negated_at = self.size + first_of_each(self.negations) + chosen
        if self.distractors is not None:
            paired = self.distractor_counts == self.negations
            self.distractor_at = first_of_each(self.distractor_counts) + np.where(paired, chosen, 0)

    def __len__(self) -> int:
        return self.size

    def __getitems__(self, indices: list[int]) -> dict:
        """The columns `PairCollator` takes."""
        indices = np.asarray(indices)
        texts = [indices] if self.negations is None else [indices, self.negated_at[indices]]
        columns = {"texts": self.tokens[np.concatenate(texts)]}
        columns.update(self._images("image", self.images, self.image_tensors, indices))
        if self.distractors is not None:
            at = self.distractor_at[indices]
            columns.update(self._images("distractor_image", self.distractors, self.distractor_tensors, at))
        return columns

    def _images(
        self, name: str, images: ImageColumn, tensors: torch.Tensor | StoredEmbeddings | None, at: np.ndarray
    ) -> dict:
        if tensors is None:
            return {name: [images[index] for index in at.tolist()]}
        return {f"{name.removesuffix('image')}{self.tensor_name}": tensors[torch.from_numpy(at)]}


def first_of_each(counts: np.ndarray) -> np.ndarray:
    """Where the first element of each list stands among those of all lists, from the lengths of the lists."""
    return np.cumsum(counts) - counts
