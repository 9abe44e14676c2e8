"""Models that people compare CLIP with: SigLIP and SigLIP 2, ALIGN, FLAVA, BLIP, through transformers' own classes."""

import torch
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
    BaseImageProcessor,
    BatchEncoding,
    BlipForImageTextRetrieval,
    PreTrainedTokenizerBase,
)

from conclip.errors import UsageError
from conclip.models.blip import BlipMatcher
from conclip.models.clip import loading_of, model_type, require_all_weights
from conclip.models.dual_encoder import DualEncoder


class SiglipEncoder(DualEncoder):
    """SigLIP and SigLIP 2, whose text tower reads the padding: it pools at the last of always 64 positions."""

    def tokenize(self, texts: list[str]) -> BatchEncoding:
        # SigLIP 2 was trained on lower case, which Gemma's tokenizer leaves to the caller; SigLIP's own sees to it.
        if not hasattr(self.tokenizer, "canonicalize_text"):
            texts = [text.lower() for text in texts]
        tokens = self.tokenizer(
            texts,
            padding="max_length",
            # Gemma's tokenizer pads on the left where a folder does not say otherwise.
            padding_side="right",
            truncation=True,
            max_length=self.max_length,
            # Trained without one: it would hide the padding.
            return_attention_mask=False,
            return_token_type_ids=False,
            return_tensors="pt",
        )
        return tokens.to(self.model.device)


class FlavaEncoder(DualEncoder):
    """
    FLAVA, of which transformers projects every position: the contrastive head of `FlavaForPreTraining` compares the
    projections of the first, [CLS], of both towers.
    """

    def _image_features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return super()._image_features(pixel_values)[:, 0]

    def _text_features(self, **tokens: torch.Tensor) -> torch.Tensor:
        return super()._text_features(**tokens)[:, 0]


# model_type -> transformers' class, ours.
FAMILIES = {
    "align": (AutoModel, DualEncoder),
    "blip": (BlipForImageTextRetrieval, BlipMatcher),
    "flava": (AutoModel, FlavaEncoder),
    "siglip": (AutoModel, SiglipEncoder),
    "siglip2": (AutoModel, SiglipEncoder),
}


def load_encoder(model_name_or_path: str, revision: str | None = None) -> DualEncoder:
    """
    A model of one of `FAMILIES`, in float32 and eval mode, with its processors. CLIP is not among them: it has its
    own, faster ways.

    Args:
        model_name_or_path: folder, or id on the Hub.
        revision: branch, tag or commit on the Hub.

    Returns:
        For BLIP, a `BlipMatcher`.

    Raises:
        UsageError: there is no whole model of a supported family with its processors.
    """
    blame = f"--model {model_name_or_path}"
    with loading_of(model_name_or_path, blame):
        family = model_type(model_name_or_path, revision, blame)
        if family not in FAMILIES:
            raise UsageError(f"{blame}: a {family} model; supported are clip, {', '.join(FAMILIES)}.")
        loader, encoder = FAMILIES[family]
        model, loading = loader.from_pretrained(
            model_name_or_path,
            revision=revision,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        require_all_weights(loading, blame)
        return encoder(model, *_load_processors(model_name_or_path, revision, blame))


def _load_processors(
    model_name_or_path: str, revision: str | None, blame: str
) -> tuple[BaseImageProcessor, PreTrainedTokenizerBase]:
    try:
        image_processor = AutoImageProcessor.from_pretrained(model_name_or_path, revision=revision)
        tokenizer = AutoTokenizer.from_pretrained(model_name_or_path, revision=revision)
    except (OSError, ValueError):
        tokenizer = None
    except ImportError as error:
        # SigLIP's; transformers' own words are a page.
        raise UsageError(f"{blame}: its tokenizer needs more packages: pip install sentencepiece protobuf") from error
    # Without files transformers makes a tokenizer that knows nothing but its special tokens.
    if tokenizer is None or len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise UsageError(
            f"{blame}: needs the files of its processor (preprocessor_config.json and the tokenizer's) beside the "
            "weights."
        )
    return image_processor, tokenizer
