"""A model that embeds images and texts, by transformers' own methods, whatever its family."""

import PIL.Image
import torch
from transformers import BaseImageProcessor, BatchEncoding, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


def preprocess_images(image_processor: BaseImageProcessor, images: list[PIL.Image.Image]) -> dict[str, torch.Tensor]:
    """
    Returns:
        What `DualEncoder.embed_images` takes: `pixel_values`, float32, (n, 3, height, width); of SigLIP 2 with free
        aspect ratio, (n, patches, values of a patch) with its mask and the shapes.
    """
    return dict(image_processor([image.convert("RGB") for image in images], return_tensors="pt"))


class DualEncoder(torch.nn.Module):
    """
    A model of another family than CLIP. As it stands, ALIGN; other families differ in a method or two.

    It is in eval mode: each image and each text has the embedding that it has alone, whatever it is batched with.

    Args:
        model: transformers' class for the family.
        image_processor, tokenizer: that belong to it.
    """

    def __init__(
        self, model: PreTrainedModel, image_processor: BaseImageProcessor, tokenizer: PreTrainedTokenizerBase
    ):
        super().__init__()
        self.model = model
        self.image_processor = image_processor
        self.tokenizer = tokenizer
        # Batch norms would mix the images of a batch.
        self.eval()

    @property
    def config(self) -> PreTrainedConfig:
        return self.model.config

    @property
    def max_length(self) -> int:
        """Tokens, special ones included, to which texts are cut: positions of the text tower."""
        return self.config.text_config.max_position_embeddings

    def preprocess(self, images: list[PIL.Image.Image]) -> dict[str, torch.Tensor]:
        return preprocess_images(self.image_processor, images)

    def tokenize(self, texts: list[str]) -> BatchEncoding:
        """What the text tower takes, on the model's device; the mask tells it where texts end."""
        tokens = self.tokenizer(texts, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt")
        return tokens.to(self.model.device)

    @torch.no_grad()
    def embed_images(self, pixel_values: torch.Tensor, **others: torch.Tensor) -> torch.Tensor:
        """
        Args:
            pixel_values, others: as in `preprocess_images`.

        Returns:
            Projected embeddings, not normalised, float32, (n, d), on the model's device.
        """
        inputs = {name: tensor.to(self.model.device) for name, tensor in others.items()}
        return self._image_features(pixel_values.to(self.model.device), **inputs).float()

    @torch.no_grad()
    def embed_texts(self, texts: list[str]) -> torch.Tensor:
        """
        Args:
            texts: as many as are to be embedded at a time.

        Returns:
            Projected embeddings, not normalised, float32, (n, d), on the model's device.
        """
        return self._text_features(**self.tokenize(texts)).float()

    def _image_features(self, pixel_values: torch.Tensor, **others: torch.Tensor) -> torch.Tensor:
        return self.model.get_image_features(pixel_values=pixel_values, **others).pooler_output

    def _text_features(self, **tokens: torch.Tensor) -> torch.Tensor:
        return self.model.get_text_features(**tokens).pooler_output
