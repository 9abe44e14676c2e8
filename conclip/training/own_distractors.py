"""Distractors from among the training images, for data of images and captions alone."""

from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from datasets import Dataset, List, Value
from transformers import BaseImageProcessor

from conclip.data import with_columns
from conclip.distractors import CaptionFilter, find_distractors
from conclip.embedding.embedding_column import holds_integers
from conclip.embedding.embedding_files import read_parts
from conclip.embedding.images import ImageEmbedder, embedding_cache_dir, open_images, process_share
from conclip.embedding.retrieval import pool_images
from conclip.errors import UsageError
from conclip.training.arguments import ConCLIPTrainingArguments
from conclip.training.default_loss import has_values
from conclip.training.own_negations import DENIED, IMAGE_CAPTIONS
from conclip.training.pair_rows import DISTRACTOR_LOSSES
from modeling_conclip import ConCLIPModel


def needs_distractors(dataset: Dataset, args: ConCLIPTrainingArguments) -> bool:
    """Return whether the loss needs distractors, and the rows have none."""
    return args.loss in DISTRACTOR_LOSSES and not has_values(dataset, [*args.image_columns.values()][1])


def refuse_numbers(dataset: Dataset, args: ConCLIPTrainingArguments) -> None:
    """
    Check the column of distractors, if the loss may read it.

    Raises:
        UsageError: the column holds numbers, which only mean something as numbers of rows in --image_embeds_file.
    """
    if args.loss not in (None, *DISTRACTOR_LOSSES) or args.image_embeds_file is not None:
        return
    (option, column) = [*args.image_columns.items()][1]
    if column in dataset.column_names and holds_integers(dataset, column):
        raise UsageError(
            f"--{option} {column} holds numbers: it has to hold images or, with --image_embeds_file, the numbers of "
            "rows in that file."
        )


def with_distractors(
    dataset: Dataset,
    model: ConCLIPModel,
    image_processor: BaseImageProcessor | None,
    args: ConCLIPTrainingArguments,
    accelerator: Accelerator,
) -> Dataset:
    """
    Add a distractor to each negated caption: the most similar training image whose captions allow the negation.

    Negated captions without such an image get that of their own row: `PairRows.use_keys` leaves those out, and rows
    that then have none.

    Args:
        dataset: rows to train on, with the columns of `own_negations.with_negations`.
        model: embeds the images; the embeddings are cached, and training reads them again.

    Returns:
        The rows, with a column of the numbers of rows, as `PairRows` takes it; with --image_embeds_file, of the
        numbers of embeddings.

    Raises:
        UsageError: an image cannot be read, or no negated caption has such an image.
    """
    (_, column), (_, distractor_column) = args.image_columns.items()
    split = str(dataset.split or "train")
    parts = read_parts(Path(args.image_embeds_file)) if args.image_embeds_file else None
    images = open_images(dataset, column, split, args.image_embeds_column is not None, parts)
    embedder = ImageEmbedder(
        image_processor,
        accelerator,
        args.per_device_eval_batch_size,
        args.dataloader_num_workers,
        embedding_cache_dir(args.embedding_cache_dir),
    )
    keys = embedder.keys(images)
    embeds = embedder(model.to(accelerator.device).eval(), images, "images")
    denied = dataset[DENIED][:]
    row_of = row_of_phrases(denied)
    found = similar_images(embeds, keys, denied, dataset[IMAGE_CAPTIONS][:], accelerator)
    lost = found < 0
    if lost.all():
        raise UsageError(
            f"Found no distractors in the split {split!r}: each negated caption contradicts the captions of every "
            "other image. Add images, or choose --loss negclip, which needs no distractors."
        )
    message = "Distractors: the most similar training image that fits the negated caption."
    if lost.any():
        message += (
            f" {lost.sum():,} of {len(lost):,} negated captions have none: they get the image of their own row, which "
            "training leaves out."
        )
    accelerator.print(message)
    numbers = np.arange(len(dataset)) if parts is None else np.array(dataset[column][:])
    of_rows = np.split(numbers[np.where(lost, row_of, found)], np.cumsum([*map(len, denied)])[:-1])
    columns = {distractor_column: [own.tolist() for own in of_rows]}
    return with_columns(dataset, columns, List(Value("int64")))


def row_of_phrases(denied: list[list[str]]) -> np.ndarray:
    """Return the row of each denied phrase, int64, (phrases,), from the phrases of each row."""
    return np.repeat(np.arange(len(denied)), [len(own) for own in denied])


class RowsAgain:
    """Embeddings of queries of which several share an image: `embeds[at[index]]`."""

    def __init__(self, embeds, at: np.ndarray):
        self.embeds, self.at = embeds, at

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, index) -> torch.Tensor:
        return self.embeds[self.at[index]]


def similar_images(
    embeds, keys: np.ndarray, denied: list[list[str]], texts: list[list[str]], accelerator: Accelerator
) -> np.ndarray:
    """
    Find for each denied phrase the most similar other image whose captions allow its negation.

    Each process searches for its share of the phrases.

    Args:
        embeds: unit embeddings of the image of each row, (rows, d), read by index.
        keys: uint8, (rows, 16), equal for rows with the same image.
        denied: the phrases of each row.
        texts: all captions of each row's image.

    Returns:
        int64, (phrases,): the row of the image, or -1 if there is none; the same on every process.
    """
    pool, _ = pool_images(keys)
    row_of = row_of_phrases(denied)
    phrases = [[phrase] for own in denied for phrase in own]
    # If one process did it all, the wait of the others would time out.
    share = process_share(len(phrases), accelerator)
    found = find_distractors(
        RowsAgain(embeds, row_of[share]),
        RowsAgain(embeds, pool),
        1,
        query_keys=keys[row_of[share]],
        pool_keys=keys[pool],
        caption_filter=CaptionFilter([texts[row] for row in pool], [phrases[at] for at in share]),
        progress=accelerator.is_local_main_process,
    )
    images = np.where(found.negation_holds[:, 0], pool[found.indices[:, 0]], -1)
    gathered = np.stack(gather_object([images]))  # (processes, share)
    return gathered.T.ravel()[: len(phrases)]
