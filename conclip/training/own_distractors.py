"""Distractors from among the training images, for data of images and captions alone: no image is copied."""

from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from datasets import Dataset, List, Value
from transformers import BaseImageProcessor

from conclip.data import source_rows, with_columns
from conclip.distractors import CaptionFilter, find_distractors
from conclip.embedding.embedding_files import read_parts
from conclip.embedding.images import ImageEmbedder, embedding_cache_dir, open_images
from conclip.embedding.retrieval import pool_images
from conclip.errors import UsageError
from conclip.training.arguments import ConCLIPTrainingArguments
from conclip.training.default_loss import has_values
from conclip.training.own_negations import DENIED, IMAGE_CAPTIONS
from conclip.training.pair_dataset import DISTRACTOR_LOSSES
from modeling_conclip import ConCLIPModel


def needs_distractors(dataset: Dataset, args: ConCLIPTrainingArguments) -> bool:
    """Return whether the loss needs distractors, and the rows have none."""
    return args.loss in DISTRACTOR_LOSSES and not has_values(dataset, [*args.image_columns.values()][1])


def with_distractors(
    dataset: Dataset,
    model: ConCLIPModel,
    image_processor: BaseImageProcessor | None,
    args: ConCLIPTrainingArguments,
    accelerator: Accelerator,
) -> Dataset:
    """
    Add to each negated caption the most similar training image of which it is true, as far as its captions tell.

    Negated captions that no image fits are left out with their captions, and so are rows without another one.

    Args:
        dataset: rows to train on, with the columns of `own_negations.with_negations`.
        model: embeds the images; the embeddings are cached, and training reads them again.

    Returns:
        The rows with a column of the numbers of rows, as `PairRows` takes it; with --image_embeds_file, of the numbers
        of embeddings.

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
    denied, texts = dataset[DENIED][:], dataset[IMAGE_CAPTIONS][:]
    found = [similar_images(embeds, keys, denied, texts)] if accelerator.is_main_process else [None]
    (found,) = broadcast_object_list(found)
    # Of each row, the row of the distractor of each negated caption, or -1.
    of_rows = np.split(found, np.cumsum([len(own) for own in denied])[:-1])
    kept = [row for row, own in enumerate(of_rows) if (own >= 0).any()]
    if not kept:
        raise UsageError(
            f"No negated caption of the split {split!r} is true of another image, as far as its captions tell: add "
            "images, or choose --loss negclip, which needs no distractors."
        )
    lost = f"{(found < 0).sum():,} of {len(found):,} negated captions, and {len(dataset) - len(kept):,} rows"
    accelerator.print(
        "Distractors: for each negated caption, the most similar training image of which it is true, as far as the "
        f"captions of the image tell. {lost} without another, have none and are left out."
    )
    columns = {}
    for name in (args.caption_column, args.negated_caption_column, "negation_kinds", DENIED):
        lists = zip(dataset[name][:], of_rows, strict=True)
        columns[name] = [[text for text, at in zip(*pair, strict=True) if at >= 0] for pair in lists]
    numbers = np.array(source_rows(dataset) if parts is None else dataset[column][:])
    dataset = with_columns(dataset, columns, List(Value("string")))
    fitting = {distractor_column: [numbers[own[own >= 0]].tolist() for own in of_rows]}
    return with_columns(dataset, fitting, List(Value("int64"))).select(kept)


class RowsAgain:
    """Embeddings of queries of which several share an image: `embeds[at[index]]`."""

    def __init__(self, embeds, at: np.ndarray):
        self.embeds, self.at = embeds, at

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, index) -> torch.Tensor:
        return self.embeds[self.at[index]]


def similar_images(embeds, keys: np.ndarray, denied: list[list[str]], texts: list[list[str]]) -> np.ndarray:
    """
    Find for each denied phrase the most similar other image of which its negation is true, by all captions of it.

    Args:
        embeds: unit embeddings of the image of each row, (rows, d), read by index.
        keys: uint8, (rows, 16), equal for rows with the same image.
        denied: the phrases of each row.
        texts: all captions of each row's image.

    Returns:
        int64, (phrases,): the row of the image, or -1 if there is none.
    """
    pool, _ = pool_images(keys)
    row_of = np.repeat(np.arange(len(denied)), [len(own) for own in denied])
    caption_filter = CaptionFilter([texts[row] for row in pool], [[phrase] for own in denied for phrase in own])
    found = find_distractors(
        RowsAgain(embeds, row_of),
        RowsAgain(embeds, pool),
        1,
        query_keys=keys[row_of],
        pool_keys=keys[pool],
        caption_filter=caption_filter,
        progress=True,
    )
    return np.where(found.negation_holds[:, 0], pool[found.indices[:, 0]], -1)
