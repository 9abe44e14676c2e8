"""Rows of images and texts into batches of tensors with the names `ConCLIPModel.forward` takes."""

from dataclasses import dataclass

import torch
from transformers import ProcessorMixin


@dataclass
class PairCollator:
    """
    Collates dicts with the keys "image" (PIL), "caption" and, where the loss needs them, "negated_caption" and
    "distractor_image".

    Args:
        processor: CLIP's processor.
        max_length: texts are cut to so many tokens, the end-of-text token kept; batches are padded to their longest.

    Returns:
        `input_ids`, `attention_mask` and `negated_input_ids`, `negated_attention_mask`: int64, (N, length);
        `pixel_values`, `distractor_pixel_values`: float32, (N, 3, height, width).
    """

    processor: ProcessorMixin
    max_length: int

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        batch = dict(self.texts([row["caption"] for row in rows]))
        batch["pixel_values"] = self.images([row["image"] for row in rows])
        if "negated_caption" in rows[0]:
            negated = self.texts([row["negated_caption"] for row in rows])
            batch.update({f"negated_{name}": tensor for name, tensor in negated.items()})
        if "distractor_image" in rows[0]:
            batch["distractor_pixel_values"] = self.images([row["distractor_image"] for row in rows])
        return batch

    def texts(self, texts: list[str]) -> dict[str, torch.Tensor]:
        # Padding stands after the text: CLIP's text tower is causal, so it changes nothing.
        encoded = self.processor.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_length, padding_side="right", return_tensors="pt"
        )
        return {name: encoded[name] for name in ("input_ids", "attention_mask")}

    def images(self, images: list) -> torch.Tensor:
        return self.processor.image_processor([image.convert("RGB") for image in images], return_tensors="pt")[
            "pixel_values"
        ]
