"""Batches of tensors with the names that `ConCLIPModel.forward` takes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from transformers import BaseImageProcessor

from conclip.embedding.images import pixel_values
from modeling_conclip.packing_conclip import PADDING, pack_texts


@dataclass
class PairCollator:
    """
    Collate the columns of N rows that `PairRows` returns.

    The columns are "texts", the tokens of N captions and, if the loss needs them, of their N negated captions after
    them; "image" and "distractor_image", PIL images, or in their place the tensors "pixel_values" or "image_embeds",
    also with the prefix "distractor_"; "statements", the tokens of texts that have "text_targets", which are packed
    behind the others.

    Args:
        image_processor: that of the model; `None` if the rows hold no images.
        mini_batch_size: rows whose activations are in memory at a time; a larger batch is packed in several pieces.
        static_shapes: round the sizes of packed texts, for compiled code.
        pack_texts: that of the model.

    Returns:
        `packed_texts`, as `pack_texts` makes them; `pixel_values` and `distractor_pixel_values`, float32,
        (N, 3, height, width), or the tensors of the rows.
    """

    image_processor: BaseImageProcessor | None
    mini_batch_size: int
    static_shapes: bool = False
    pack_texts: Callable[[np.ndarray, int, bool], list[dict]] = pack_texts

    def __call__(self, columns: dict) -> dict:
        batch = {}
        for name, values in columns.items():
            if name.endswith("image"):
                batch[f"{name.removesuffix('image')}pixel_values"] = pixel_values(self.image_processor, values)
            elif name not in ("texts", "statements"):
                batch[name] = values
        rows = len(next(iter(batch.values())))
        pieces = -(-rows // self.mini_batch_size)
        texts = stack_tokens([columns[name] for name in ("texts", "statements") if name in columns])
        batch["packed_texts"] = self.pack_texts(texts, pieces, self.static_shapes)
        return batch


def stack_tokens(parts: list[np.ndarray]) -> np.ndarray:
    """Stack tokens, int32, (n, length) each, and fill shorter parts with `PADDING`."""
    longest = max(part.shape[1] for part in parts)
    return np.concatenate(
        [np.pad(part, ((0, 0), (0, longest - part.shape[1])), constant_values=PADDING) for part in parts]
    )
