"""Models that people compare CLIP with: SigLIP and SigLIP 2, ALIGN, FLAVA, BLIP, through transformers' own classes."""

from pathlib import Path

import torch
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
    BaseImageProcessor,
    BatchEncoding,
    BlipForImageTextRetrieval,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from conclip_evaluation.blip import BlipMatcher
from conclip_evaluation.dual_encoder import DualEncoder
from conclip_training.failures import UsageError, one_line


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
    is_path = model_name_or_path.startswith((".", "/", "~")) or model_name_or_path.count("/") > 1
    if is_path and not Path(model_name_or_path).is_dir():
        raise UsageError(f"{blame}: there is no such folder.")
    verbosity = logging.get_verbosity()
    # What does not fit is said below, in a sentence instead of a table.
    logging.set_verbosity_error()
    try:
        config, _ = PreTrainedConfig.get_config_dict(model_name_or_path, revision=revision)
        if not config:
            raise UsageError(f"{blame}: no model there (config.json missing).")
        if config.get("model_type") not in FAMILIES:
            supported = ", ".join(FAMILIES)
            raise UsageError(f"{blame}: a {config.get('model_type')} model; supported are clip, {supported}.")
        loader, encoder = FAMILIES[config["model_type"]]
        model = _load_weights(loader, model_name_or_path, revision, blame)
        return encoder(model, *_load_processors(model_name_or_path, revision, blame))
    except UsageError:
        raise
    # Each of the formats inside (json, safetensors, torch) and the Hub's client has error types of its own.
    except Exception as error:
        raise UsageError(f"{blame} cannot be loaded: {one_line(error)}") from error
    finally:
        logging.set_verbosity(verbosity)


def _load_weights(loader: type, model_name_or_path: str, revision: str | None, blame: str) -> PreTrainedModel:
    model, loading = loader.from_pretrained(
        model_name_or_path,
        revision=revision,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    absent = sorted([*loading["missing_keys"], *(name for name, *_ in loading["mismatched_keys"])])
    if absent:
        others = f" and {len(absent) - 1} more are" if len(absent) > 1 else " is"
        raise UsageError(
            f"{blame}: its weights do not fill a {type(model).__name__}: {absent[0]}{others} missing or of another "
            "shape."
        )
    return model


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
