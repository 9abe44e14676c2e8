"""Rows to evaluate on: a split that the dataset has, or images held out of the training split."""

import re

import numpy as np
import xxhash
from datasets import Dataset

from conclip.data import require_columns, text_rows
from conclip.embedding.store import as_scalars
from conclip.errors import UsageError

# What datasets call the rows to evaluate on, the best choice first.
EVAL_SPLITS = ("test", "validation", "val")
MOST_HELD_OUT = 1_000


def default_eval_split(names: list[str], train_split: str) -> str | None:
    """
    Choose the split to evaluate on.

    Args:
        names: all splits of the dataset.
        train_split: what is trained on, e.g. "train[:90%]" or "train+validation".

    Returns:
        The name of the split; `None` if there is none besides what is trained on.
    """
    trained = {re.match(r"\w*", part.strip()).group() for part in train_split.split("+")}
    return next((name for name in EVAL_SPLITS if name in names and name not in trained), None)


def hold_out(dataset: Dataset, keys: np.ndarray, seed: int, what: str = "images") -> tuple[Dataset, Dataset, str]:
    """
    Hold out a tenth of the distinct images, 1 to 1,000, with all their rows.

    Args:
        keys: uint8, (rows, 16), the content key of each row's image, or of its first caption.
        seed: of the choice, which depends on the keys, not on the order of the rows.
        what: what the keys are of, for messages.

    Returns:
        The rows to train on and the rows that are held out, each in their order; and a clause with their numbers.

    Raises:
        UsageError: all rows have the same key.
    """
    distinct, image_of_row = np.unique(as_scalars(keys), return_inverse=True)
    if len(distinct) < 2:
        raise UsageError(
            f"All rows have the same {what.removesuffix('s')}, so none can be held out: add --eval_split none."
        )
    count = min(MOST_HELD_OUT, max(1, len(distinct) // 10))
    chosen = np.random.default_rng(seed).permutation(len(distinct))[:count]
    held_out = np.isin(image_of_row, chosen)
    note = (
        f"{count:,} of its {len(distinct):,} {what} ({held_out.sum():,} rows), drawn with --seed {seed}, are held out"
    )
    return dataset.select(np.flatnonzero(~held_out)), dataset.select(np.flatnonzero(held_out)), note


def first_caption_keys(dataset: Dataset, caption_column: str, split: str) -> np.ndarray:
    """
    Return a hash of the first caption of each row, uint8, (rows, 16).

    Raises:
        UsageError: there is no such column, or a text is blank.
    """
    require_columns(dataset, {"--caption_column": caption_column}, split)
    firsts = (own[0].encode("utf-8", "surrogatepass") for own in text_rows(dataset, caption_column, split))
    digests = bytearray()
    for text in firsts:
        digests += xxhash.xxh3_128_digest(text)
    return np.frombuffer(digests, np.uint8).reshape(len(dataset), 16)


def count_trained_images(eval_keys: np.ndarray, train_keys: np.ndarray) -> int:
    """
    Count the evaluation rows whose image is also trained on.

    Args:
        eval_keys, train_keys: uint8, (rows, 16), the content key of each row's image.
    """
    return int(np.isin(as_scalars(eval_keys), as_scalars(train_keys)).sum())
