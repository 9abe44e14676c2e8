"""The training rows: images, captions, negated captions and distractors."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
import xxhash
from datasets import Dataset

from conclip.data import require_columns, source_row
from conclip.embedding.embedding_column import EmbeddingColumn, holds_integers, holds_lists
from conclip.embedding.embedding_files import read_parts
from conclip.embedding.image_column import ImageColumn
from conclip.embedding.image_hashes import ROWS_AT_A_TIME
from conclip.embedding.images import open_images
from conclip.embedding.store import StoredEmbeddings
from conclip.embedding.text_column import JoinedTexts, TextColumn
from conclip.embedding.tokens import TextTokens
from conclip.errors import UsageError
from conclip.training.arguments import ConCLIPTrainingArguments
from conclip.training.statement_rows import StatementRows

# What each loss needs beside image and caption.
NEGATED_LOSSES = ("conclip", "negclip")
DISTRACTOR_LOSSES = ("conclip",)


class PairRows(torch.utils.data.Dataset):
    """
    Training rows for `PairCollator`, which reads a whole batch at a time.

    If a row has several captions or several negated captions, each epoch uses one, chosen by seed, epoch and row. As
    many captions as negated captions are pairs: the negated caption is that of the chosen caption. Its distractor is
    the one at the same index if the row has as many distractors as negated captions, else the first.

    Rows hold images until `use_tensors` replaces them. `use_keys` leaves out what contradicts itself. `use_statements`
    adds a text with a target to each row.

    Args:
        dataset: a row holds an image, captions and, depending on the loss, negated captions and distractor images.
        tokenize: takes all texts and returns their tokens.
        loss: "conclip", "negclip" or "clip".
        seed: of the choice among captions.
        split: name of the split, for messages.
        image_column, caption_column, negated_caption_column, distractor_image_column: names of the columns. In place
            of distractors, the last may hold numbers of rows of `dataset`, from 0, whose images are the distractors.
        embeddings, parts: whether the columns of images hold embeddings, see `open_images`.

    Raises:
        UsageError: a missing column, a blank text, a row without what the loss needs, or a number of no row.
    """

    statements: StatementRows | None = None

    def __init__(
        self,
        dataset: Dataset,
        tokenize: Callable[[Sequence[str]], TextTokens],
        loss: str = "conclip",
        seed: int = 42,
        split: str = "train",
        image_column: str = "image",
        caption_column: str = "caption",
        negated_caption_column: str = "negated_captions",
        distractor_image_column: str = "distractor_images",
        embeddings: bool = False,
        parts: list[np.ndarray] | None = None,
    ):
        self.split, self.seed = split, seed
        kind = "image_embeds" if embeddings else "image"
        columns = {f"--{kind}_column": image_column, "--caption_column": caption_column}
        if loss in NEGATED_LOSSES:
            columns["--negated_caption_column"] = negated_caption_column
        if loss in DISTRACTOR_LOSSES:
            columns[f"--distractor_{kind}_column"] = distractor_image_column
        require_columns(dataset, columns, split)
        texts = [TextColumn(dataset, caption_column, split)]
        self.captions, self.negations = texts[0].lengths, None
        if loss in NEGATED_LOSSES:
            texts.append(TextColumn(dataset, negated_caption_column, split))
            self.negations = texts[1].lengths
        self.images = open_images(dataset, image_column, split, embeddings, parts)
        self.distractors = None
        if loss in DISTRACTOR_LOSSES:
            self.distractors = self._distractor_images(
                dataset, distractor_image_column, image_column, embeddings, parts
            )
        self.tokens = tokenize(JoinedTexts(*texts))
        self.tensor_name, self.image_tensors, self.distractor_tensors = None, None, None
        self._use_all()

    def _use_all(self) -> None:
        """Use all rows and all their negated captions, and draw for the first epoch."""
        self.kept, self.usable = np.arange(len(self.captions)), None
        if self.negations is not None:
            self.usable = np.ones(self.negations.sum(), bool)
        self.set_epoch(0)

    def _distractor_images(
        self,
        dataset: Dataset,
        column: str,
        image_column: str,
        embeddings: bool,
        parts: list[np.ndarray] | None,
    ) -> ImageColumn | EmbeddingColumn:
        """
        Return the images of the distractors that may be used.

        `self.distractor_counts` says how many distractors belong to each row, `self.distractor_images` which of the
        images each of them is.
        """
        by_row = parts is None and holds_integers(dataset, column)
        listed = holds_lists(dataset, column, of_vectors=embeddings and parts is None and not by_row)
        # A part at a time: selected rows are copied, with the bytes of their images.
        tables = dataset.select_columns([column]).with_format("arrow").iter(ROWS_AT_A_TIME)
        counts, numbers = [], []
        for start, table in zip(range(0, len(dataset), ROWS_AT_A_TIME), tables, strict=True):
            values = table[column]
            held = (pc.list_value_length(values).fill_null(0) if listed else values.is_valid()).to_numpy()
            for row in np.flatnonzero(held == 0)[:1].tolist():
                raise UsageError(
                    f"Split {self.split!r}, row {source_row(dataset, start + row)}: {column} is empty. "
                    "Give every row a distractor image, or train without them: --loss negclip."
                )
            paired = held == self.negations[start : start + len(held)]
            counts.append(np.where(paired, held, 1) if listed else np.ones(len(held), np.int64))
            if by_row:
                numbers.append(self._row_numbers(dataset, column, start, values.combine_chunks(), held, counts[-1]))
        self.distractor_counts = np.concatenate(counts)
        self.distractor_rows = np.repeat(np.arange(len(dataset)), self.distractor_counts)
        places = np.arange(len(self.distractor_rows)) - list_starts(self.distractor_counts)[self.distractor_rows]
        self.distractor_images = np.arange(len(self.distractor_rows))
        if by_row:
            shown, self.distractor_images = np.unique(np.concatenate(numbers), return_inverse=True)
            return open_images(dataset, image_column, self.split, embeddings, rows=shown)
        at = places if listed else None
        return open_images(dataset, column, self.split, embeddings, parts, self.distractor_rows, at)

    def _row_numbers(
        self, dataset: Dataset, column: str, start: int, values: pa.Array, held: np.ndarray, counts: np.ndarray
    ) -> np.ndarray:
        """
        Return the first numbers of each row.

        Args:
            start: the first of the rows.
            values: integers, or lists of them.
            held, counts: int64, (rows,), how many numbers each row has, and how many are used.
        """
        row = np.repeat(np.arange(len(counts)), counts)
        at = (list_starts(held) - list_starts(counts))[row] + np.arange(len(row))
        flat = values if pa.types.is_integer(values.type) else values.flatten()
        found = flat.fill_null(-1).to_numpy()[at].astype(np.int64)
        for index in np.flatnonzero((found < 0) | (found >= len(dataset)))[:1].tolist():
            number = flat[int(at[index])].as_py()
            raise UsageError(
                f"Split {self.split!r}, row {source_row(dataset, start + int(row[index]))}: {column} holds {number}, "
                f"which is not the number of a row: give images, or numbers from 0 to {len(dataset) - 1:,}."
            )
        return found

    def use_tensors(
        self,
        name: str,
        compute: Callable[[ImageColumn | EmbeddingColumn, str], torch.Tensor | StoredEmbeddings | EmbeddingColumn],
    ) -> None:
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

    def use_statements(self, statements: StatementRows) -> None:
        """Add a statement with its target to each row, for negation distillation beside the loss of pairs."""
        self.statements = statements
        statements.set_epoch(self.epoch)

    def use_keys(self, compute: Callable[[ImageColumn | EmbeddingColumn], np.ndarray]) -> list[str]:
        """
        Find out which images and which texts are equal, for `keys`, and leave out what contradicts itself.

        A negated caption that equals a caption of its row would be trained as its own negative, and so would a
        distractor that is the image of its row. Texts are equal if their tokens are: long texts that differ after the
        cut at the length of the text encoder are. A row without another negated caption is left out.

        Args:
            compute: returns the keys of images, uint8, (images, 16).

        Returns:
            Warnings that say how many were left out.

        Raises:
            UsageError: an image cannot be read, or no row is left.
        """
        self.text_keys, self.image_keys = text_keys(self.tokens), as_integers(compute(self.images))
        if self.negations is None:
            return []
        row, place = self._negated_places()
        negated = self.text_keys[self.captions.sum() :]
        same_text = np.zeros(len(negated), bool)
        for other in range(self.captions.max()):
            own = list_starts(self.captions) + np.minimum(other, self.captions - 1)
            same_text |= negated == self.text_keys[own[row]]
        found = {"negated captions that equal a caption of their row as the text encoder reads them": same_text.sum()}
        self.usable = ~same_text
        if self.distractors is not None:
            self.distractor_keys = as_integers(compute(self.distractors))[self.distractor_images]
            same_image = self.distractor_keys == self.image_keys[self.distractor_rows]
            found["distractors that are the image of their row"] = same_image.sum()
            self.usable &= ~same_image[self._distractors_at(row, place)]
        self.kept = np.unique(row[self.usable])
        found["rows without others"] = len(self.captions) - len(self.kept)
        counts = ", ".join(f"{what} ({count:,})" for what, count in found.items() if count)
        if not len(self.kept):
            raise UsageError(f"Split {self.split!r}: no row is left to train on; left out are {counts}.")
        self.set_epoch(self.epoch)
        return [f"Split {self.split!r}: left out of training are {counts}."] if counts else []

    def _negated_places(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the row of each negated caption, and its position in the row."""
        row = np.repeat(np.arange(len(self.negations)), self.negations)
        return row, np.arange(len(row)) - list_starts(self.negations)[row]

    def _distractors_at(self, row: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Return the index of the distractor that belongs to the negated caption at a position of a row."""
        paired = (self.distractor_counts == self.negations)[row]
        return list_starts(self.distractor_counts)[row] + np.where(paired, place, 0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the caption, the negated caption, the distractor and the statement of each row."""
        self.epoch = epoch
        if self.statements is not None:
            self.statements.set_epoch(epoch)
        # Numbers for all rows, so that the choice in a row does not depend on which others are left out.
        sampled = np.random.default_rng([self.seed, epoch, 1]).random(len(self.captions))[self.kept]
        place = (sampled * self.captions[self.kept]).astype(np.int64)
        if self.negations is not None:
            sampled = np.random.default_rng([self.seed, epoch]).random(len(self.captions))[self.kept]
            row, places = (values[self.usable] for values in self._negated_places())
            counts = np.bincount(row, minlength=len(self.captions))
            chosen = places[list_starts(counts)[self.kept] + (sampled * counts[self.kept]).astype(np.int64)]
            self.negated_at = self.captions.sum() + list_starts(self.negations)[self.kept] + chosen
            if self.distractors is not None:
                self.distractor_at = self._distractors_at(self.kept, chosen)
            place = np.where(self.captions[self.kept] == self.negations[self.kept], chosen, place)
        self.caption_at = list_starts(self.captions)[self.kept] + place

    def keys(self) -> np.ndarray:
        """
        Return what the rows hold in this epoch, as `use_keys` found it.

        Returns:
            uint64, (rows, 2 to 4): keys of the caption and the image and, depending on the loss, of the negated
            caption and the distractor. Equal texts, or equal images, have equal keys.
        """
        columns = [self.text_keys[self.caption_at], self.image_keys[self.kept]]
        if self.negations is not None:
            columns.append(self.text_keys[self.negated_at])
        if self.distractors is not None:
            columns.append(self.distractor_keys[self.distractor_at])
        return np.stack(columns, axis=1)

    @property
    def source_rows(self) -> int:
        """Return how many rows the dataset has, those that are left out included."""
        return len(self.captions)

    def description(self) -> str:
        """Return the size of an epoch in words."""
        captions = self.captions[self.kept].sum()
        several = f" with {captions:,} captions (one a row in each epoch)" if captions > len(self) else ""
        return f"{len(self):,} rows{several}"

    def __len__(self) -> int:
        return len(self.kept)

    def __getitems__(self, indices: list[int]) -> dict:
        """Return the columns that `PairCollator` takes."""
        indices = np.asarray(indices)
        texts = [self.caption_at] if self.negations is None else [self.caption_at, self.negated_at]
        columns = {"texts": self.tokens[np.concatenate([at[indices] for at in texts])]}
        columns.update(self._images("image", self.images, self.image_tensors, self.kept[indices]))
        if self.distractors is not None:
            at = self.distractor_images[self.distractor_at[indices]]
            columns.update(self._images("distractor_image", self.distractors, self.distractor_tensors, at))
        if self.statements is not None:
            columns.update(self.statements.__getitems__(indices))
        return columns

    def _images(
        self,
        name: str,
        images: ImageColumn | EmbeddingColumn,
        tensors: torch.Tensor | StoredEmbeddings | EmbeddingColumn | None,
        at: np.ndarray,
    ) -> dict:
        if tensors is None:
            return {name: [images[index] for index in at.tolist()]}
        return {f"{name.removesuffix('image')}{self.tensor_name}": tensors[torch.from_numpy(at)]}


def columns_of(args: ConCLIPTrainingArguments) -> dict:
    """
    Return the parameters of `PairRows` and `Evaluator` that say which columns are read, and whether they hold
    embeddings.

    Raises:
        UsageError: the file of embeddings cannot be read.
    """
    image_column, _ = args.image_columns.values()
    return {
        "image_column": image_column,
        "caption_column": args.caption_column,
        "negated_caption_column": args.negated_caption_column,
        "embeddings": args.image_embeds_column is not None,
        "parts": read_parts(Path(args.image_embeds_file)) if args.image_embeds_file else None,
    }


def make_pairs(
    dataset: Dataset,
    args: ConCLIPTrainingArguments,
    columns: dict,
    tokenize: Callable[[Sequence[str]], TextTokens],
) -> PairRows:
    """
    Return the pairs of a dataset to train on with the loss of `args`.

    Args:
        columns: from `columns_of`.
        tokenize: takes all texts and returns their tokens.

    Raises:
        UsageError: as `PairRows`.
    """
    _, distractor_column = args.image_columns.values()
    split = str(dataset.split or "train")
    return PairRows(
        dataset, tokenize, args.loss, args.seed, split, distractor_image_column=distractor_column, **columns
    )


def open_image_column(
    dataset: Dataset, args: ConCLIPTrainingArguments, columns: dict, split: str
) -> ImageColumn | EmbeddingColumn:
    """
    Open the images, or their embeddings, that `args` names.

    Args:
        columns: from `columns_of`.

    Raises:
        UsageError: a missing column, or one that holds something else.
    """
    (option, column), _ = args.image_columns.items()
    require_columns(dataset, {f"--{option}": column}, split)
    return open_images(dataset, column, split, columns["embeddings"], columns["parts"])


def text_keys(tokens: TextTokens) -> np.ndarray:
    """Return a hash of the tokens of each text, uint64, (texts,)."""
    ids, offsets = memoryview(np.ascontiguousarray(tokens.ids)).cast("B"), tokens.offsets * tokens.ids.itemsize
    # A part at a time: the offsets of all texts as Python numbers would take more memory than the tokens.
    parts = (offsets[at : at + ROWS_AT_A_TIME + 1].tolist() for at in range(0, len(tokens), ROWS_AT_A_TIME))
    hashes = (xxhash.xxh3_64_intdigest(ids[start:end]) for part in parts for start, end in pairwise(part))
    return np.fromiter(hashes, np.uint64, len(tokens))


def as_integers(image_keys: np.ndarray) -> np.ndarray:
    """Return the first half of each image key, uint8, (images, 16) -> uint64, (images,)."""
    return np.ascontiguousarray(image_keys[:, :8]).view(np.uint64).ravel()


def list_starts(counts: np.ndarray) -> np.ndarray:
    """Return the index of each list's first element among the elements of all lists, from the lists' lengths."""
    return np.cumsum(counts) - counts
