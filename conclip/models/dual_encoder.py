"""Dual encoders of other families than CLIP (ALIGN, Chinese-CLIP, FLAVA, SigLIP), in transformers' own classes."""

import PIL.Image
import torch
from transformers import BaseImageProcessor, BatchEncoding, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from conclip.embedding.image_modes import to_rgb
from conclip.embedding.tokens import whole_lengths
from modeling_conclip.modeling_conclip import MAX_LOGIT_SCALE


def preprocess_images(image_processor: BaseImageProcessor, images: list[PIL.Image.Image]) -> dict[str, torch.Tensor]:
    """
    Return the inputs of `DualEncoder.embed_images`.

    Returns:
        `pixel_values`, float32, (n, 3, height, width); for SigLIP 2 with free aspect ratio (n, patches, values per
        patch), with a mask and the shapes.
    """
    return dict(image_processor([to_rgb(image) for image in images], return_tensors="pt"))


class DualEncoder(torch.nn.Module):
    """
    A model that embeds images and texts.

    This class fits ALIGN and Chinese-CLIP; other families override one or two methods.

    The model is in eval mode: the embedding of an image or text does not depend on the rest of its batch.

    Args:
        model: transformers' class of the family.
        image_processor, tokenizer: the processors that belong to the model.
    """

    def __init__(
        self, model: PreTrainedModel, image_processor: BaseImageProcessor, tokenizer: PreTrainedTokenizerBase
    ):
        super().__init__()
        self.model = model
        self.image_processor = image_processor
        self.tokenizer = tokenizer
        # In training mode batch norms would mix the images of a batch.
        self.eval()

    @property
    def config(self) -> PreTrainedConfig:
        return self.model.config

    @property
    def max_length(self) -> int:
        """Return the maximum number of tokens of a text, special ones included: positions of the text encoder."""
        return self.config.text_config.max_position_embeddings

    def preprocess(self, images: list[PIL.Image.Image]) -> dict[str, torch.Tensor]:
        return preprocess_images(self.image_processor, images)

    @property
    def logit_scale(self) -> torch.Tensor:
        """Return the logarithm of what the model multiplies cosines by, scalar, without gradient."""
        # ALIGN divides by a temperature. A model that has neither, such as BLIP, gets CLIP's upper bound.
        if hasattr(self.model, "temperature"):
            return -self.model.temperature.detach().log().reshape(())
        if hasattr(self.model, "logit_scale"):
            return self.model.logit_scale.detach().reshape(())
        return torch.tensor(MAX_LOGIT_SCALE, device=self.model.device)

    @staticmethod
    def tokenize_texts(texts: list[str], tokenizer: PreTrainedTokenizerBase, max_length: int) -> BatchEncoding:
        """Return the inputs of the text encoder, padded, with an attention mask if it takes one, on the CPU."""
        return tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt")

    def tokenize(self, texts: list[str]) -> BatchEncoding:
        """Return the inputs of the text encoder on the model's device, see `tokenize_texts`."""
        return self.tokenize_texts(texts, self.tokenizer, self.max_length).to(self.model.device)

    def whole_lengths(self, texts: list[str]) -> list[int]:
        """Return how many tokens each text has before it is cut to `max_length`."""
        return whole_lengths(self.tokenizer, [self.prepare(text, self.tokenizer) for text in texts])

    @staticmethod
    def prepare(text: str, tokenizer: PreTrainedTokenizerBase) -> str:
        """Return a text as the tokenizer has to get it."""
        return text

    @torch.no_grad()
    def embed_images(self, pixel_values: torch.Tensor, **others: torch.Tensor) -> torch.Tensor:
        """
        Embed a batch of images.

        Args:
            pixel_values, others: see `preprocess_images`.

        Returns:
            Projected embeddings, not normalised, float32, (n, d), on the model's device.
        """
        inputs = {name: tensor.to(self.model.device) for name, tensor in others.items()}
        return self._image_features(pixel_values.to(self.model.device), **inputs).float()

    @torch.no_grad()
    def embed_texts(self, texts: list[str]) -> torch.Tensor:
        """
        Embed a batch of texts.

        Returns:
            Projected embeddings, not normalised, float32, (n, d), on the model's device.
        """
        return self.text_features(**self.tokenize(texts)).float()

    def _image_features(self, pixel_values: torch.Tensor, **others: torch.Tensor) -> torch.Tensor:
        return self.model.get_image_features(pixel_values=pixel_values, **others).pooler_output

    def text_features(self, **tokens: torch.Tensor) -> torch.Tensor:
        """Return projected embeddings of tokenised texts, not normalised, (n, d), with gradient."""
        return self.model.get_text_features(**tokens).pooler_output


class SiglipEncoder(DualEncoder):
    """SigLIP and SigLIP 2. Their text encoder attends to the padding: it pools at the last of always 64 positions."""

    @staticmethod
    def prepare(text: str, tokenizer: PreTrainedTokenizerBase) -> str:
        # SigLIP 2 was trained on lower case. SigLIP's own tokenizer lower-cases, Gemma's does not.
        return text if hasattr(tokenizer, "canonicalize_text") else text.lower()

    @staticmethod
    def tokenize_texts(texts: list[str], tokenizer: PreTrainedTokenizerBase, max_length: int) -> BatchEncoding:
        return tokenizer(
            [SiglipEncoder.prepare(text, tokenizer) for text in texts],
            padding="max_length",
            # Gemma's tokenizer pads on the left by default.
            padding_side="right",
            truncation=True,
            max_length=max_length,
            # The models were trained without a mask; one would hide the padding.
            return_attention_mask=False,
            return_token_type_ids=False,
            return_tensors="pt",
        )


class FlavaEncoder(DualEncoder):
    """
    FLAVA, for which transformers returns the projection of every position.

    The contrastive head of `FlavaForPreTraining` compares the projections of the first position, [CLS].
    """

    def _image_features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return super()._image_features(pixel_values)[:, 0]

    def text_features(self, **tokens: torch.Tensor) -> torch.Tensor:
        return super().text_features(**tokens)[:, 0]
