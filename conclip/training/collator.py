"""Batches of tensors with the names `ConCLIPModel.forward` takes."""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import BaseImageProcessor

from conclip.embedding.images import pixel_values
from modeling_conclip.packing_conclip import pack_texts


@dataclass
class PairCollator:
    """
    Collates the columns of N rows: "texts", the tokens of N captions and, where the loss needs them, of their N
    negated captions after them, as `packing_conclip.pack_texts` takes them; "image" and "distractor_image",
    PIL images, or in their place tensors: "pixel_values" or "image_embeds", and the same after "distractor_".

    Args:
        image_processor: CLIP's.
        mini_batch_size: rows of a piece; a larger batch is packed as several.
        static_shapes: of the packed texts, see there.

    Returns:
        `packed_texts`; `pixel_values`, `distractor_pixel_values`: float32, (N, 3, height, width), or the tensors of
        the rows.
    """

    image_processor: BaseImageProcessor
    mini_batch_size: int
    static_shapes: bool = False

    def __call__(self, columns: dict) -> dict:
        batch = {}
        for name, values in columns.items():
            if name.endswith("image"):
                batch[f"{name.removesuffix('image')}pixel_values"] = pixel_values(self.image_processor, values)
            elif name != "texts":
                batch[name] = values
        rows = len(next(iter(batch.values())))
        batch["packed_texts"] = self.texts(columns["texts"], pieces=-(-rows // self.mini_batch_size))
        return batch

    def texts(self, texts: np.ndarray, pieces: int = 1) -> list[dict[str, torch.Tensor]]:
        return pack_texts(texts, pieces, self.static_shapes)
