"""The training rows: images, captions, negated captions and distractors."""

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

# What each loss needs beside image and caption.
NEGATED_LOSSES = ("conclip", "negclip")
DISTRACTOR_LOSSES = ("conclip",)


class PairRows(torch.utils.data.Dataset):
    """
    Training rows for `PairCollator`, which reads a whole batch at a time.

    If a row has several negated captions, each epoch uses one, chosen by seed, epoch and row. Its distractor is the
    one at the same index if the row has as many distractors as negated captions, else the first.

    Rows hold images until `use_tensors` replaces them.

    Args:
        dataset: a row holds an image, a caption and, depending on the loss, negated captions and distractor images.
        tokenize: takes all texts and returns their tokens.
        loss: "conclip", "negclip" or "clip".
        seed: of the choice among negated captions.
        split: name of the split, for messages.
        image_column, caption_column, negated_caption_column, distractor_image_column: names of the columns.

    Raises:
        UsageError: a missing column, a blank text, or a row without what the loss needs.
    """

    def __init__(
        self,
        dataset: Dataset,
        tokenize: Callable[[list[str]], TextTokens],
        loss: str = "conclip",
        seed: int = 42,
        split: str = "train",
        image_column: str = "image",
        caption_column: str = "caption",
        negated_caption_column: str = "negated_captions",
        distractor_image_column: str = "distractor_images",
    ):
        self.split, self.seed = split, seed
        columns = {"--image_column": image_column, "--caption_column": caption_column}
        if loss in NEGATED_LOSSES:
            columns["--negated_caption_column"] = negated_caption_column
        if loss in DISTRACTOR_LOSSES:
            columns["--distractor_image_column"] = distractor_image_column
        require_columns(dataset, columns, split)
        captions = [texts[0] for texts in text_lists(dataset, caption_column, split)]
        self.size, self.negations, negated = len(captions), None, []
        if loss in NEGATED_LOSSES:
            negated = text_lists(dataset, negated_caption_column, split)
            self.negations = np.array([len(texts) for texts in negated])
        self.images = ImageColumn(dataset, image_column, split)
        self.distractors = None
        if loss in DISTRACTOR_LOSSES:
            self.distractors = self._distractor_images(dataset, distractor_image_column)
        self.tokens = tokenize([*captions, *chain.from_iterable(negated)])
        self.tensor_name, self.image_tensors, self.distractor_tensors = None, None, None
        self.set_epoch(0)

    def _distractor_images(self, dataset: Dataset, column: str) -> ImageColumn:
        """Return the distractors that may be used; `self.distractor_counts` says how many belong to each row."""
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
        Replace the images of all rows by tensors.

        Args:
            name: the input of `ConCLIPModel.forward` that the tensors are, "image_embeds" or "pixel_values".
            compute: takes images and a noun for its progress bar, and returns a tensor for each index.
        """
        self.tensor_name = name
        self.image_tensors = compute(self.images, "images")
        if self.distractors is not None:
            self.distractor_tensors = compute(self.distractors, "distractors")

    def set_epoch(self, epoch: int) -> None:
        """Choose the negated caption and the distractor of each row."""
        if self.negations is None:
            return
        sampled = np.random.default_rng([self.seed, epoch]).random(self.size)
        chosen = (sampled * self.negations).astype(np.int64)
        self.negated_at = self.size + list_starts(self.negations) + chosen
        if self.distractors is not None:
            paired = self.distractor_counts == self.negations
            self.distractor_at = list_starts(self.distractor_counts) + np.where(paired, chosen, 0)

    def __len__(self) -> int:
        return self.size

    def __getitems__(self, indices: list[int]) -> dict:
        """Return the columns that `PairCollator` takes."""
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


def list_starts(counts: np.ndarray) -> np.ndarray:
    """Return the index of each list's first element among the elements of all lists, from the lists' lengths."""
    return np.cumsum(counts) - counts
