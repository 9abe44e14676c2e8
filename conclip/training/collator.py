"""Batches of tensors with the names that `ConCLIPModel.forward` takes."""

from dataclasses import dataclass

from transformers import BaseImageProcessor

from conclip.embedding.images import pixel_values
from modeling_conclip.packing_conclip import pack_texts


@dataclass
class PairCollator:
    """
    Collate the columns of N rows that `PairRows` returns.

    The columns are "texts", the tokens of N captions and, if the loss needs them, of their N negated captions after
    them; "image" and "distractor_image", PIL images, or in their place the tensors "pixel_values" or "image_embeds",
    also with the prefix "distractor_".

    Args:
        image_processor: that of the model.
        mini_batch_size: rows whose activations are in memory at a time; a larger batch is packed in several pieces.
        static_shapes: round the sizes of packed texts, for compiled code.

    Returns:
        `packed_texts`, as `pack_texts` makes them; `pixel_values` and `distractor_pixel_values`, float32,
        (N, 3, height, width), or the tensors of the rows.
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
        pieces = -(-rows // self.mini_batch_size)
        batch["packed_texts"] = pack_texts(columns["texts"], pieces, self.static_shapes)
        return batch
