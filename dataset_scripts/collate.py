"""Rows of images and texts into batches of tensors with the names `ConCLIPModel.forward` takes."""

from dataclasses import dataclass

import torch
from transformers import ProcessorMixin


@dataclass
class PairCollator:
    """
    Collates dicts with the keys "caption", "image" (PIL) and, where the loss needs them, "negated_caption" and
    "distractor_image". In place of an image a row may hold a tensor: "pixel_values" or "image_embeds", and the same
    after "distractor_".

    Args:
        processor: CLIP's processor.
        max_length: texts are cut to so many tokens, the end-of-text token kept; batches are padded to their longest.

    Returns:
        `input_ids`, `negated_input_ids`: int64, (N, length). No attention mask: padding stands after the end-of-text
        token, where a causal tower does not see it, and attention without a mask is faster.
        `pixel_values`, `distractor_pixel_values`: float32, (N, 3, height, width), or the tensors of the rows, stacked.
    """

    processor: ProcessorMixin
    max_length: int

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        batch = {}
        for name in rows[0]:
            values = [row[name] for row in rows]
            if name.endswith("caption"):
                prefix = name.removesuffix("caption")
                batch.update({f"{prefix}{key}": tensor for key, tensor in self.texts(values).items()})
            elif name.endswith("image"):
                batch[f"{name.removesuffix('image')}pixel_values"] = self.images(values)
            else:
                batch[name] = torch.stack(values)
        return batch

    def texts(self, texts: list[str]) -> dict[str, torch.Tensor]:
        encoded = self.processor.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_length, padding_side="right", return_tensors="pt"
        )
        return {"input_ids": encoded["input_ids"]}

    def images(self, images: list) -> torch.Tensor:
        return self.processor.image_processor([image.convert("RGB") for image in images], return_tensors="pt")[
            "pixel_values"
        ]
