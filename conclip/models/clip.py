"""Load CLIP and ConCLIP models with their processors, check that these fit, and add LoRA adapters."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoProcessor,
    AutoTokenizer,
    BaseImageProcessor,
    CLIPConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)
from transformers.utils import logging

from conclip.embedding.tokens import TextTokenizer
from conclip.errors import UsageError, one_line
from conclip.model_folders import damaged_file, refuse_hub_code, require_folder, why_not_loaded
from modeling_conclip import ConCLIPModel


def load_model(
    model_name_or_path: str,
    revision: str | None = None,
    option: str = "--model_name_or_path",
    needs_images: bool = True,
    **config_options,
) -> tuple[ConCLIPModel, ProcessorMixin | PreTrainedTokenizerBase]:
    """
    Load a CLIP or ConCLIP in float32 (mixed precision keeps master weights) with its processor.

    Args:
        model_name_or_path: folder or Hub id.
        revision: branch, tag or commit on the Hub.
        option: the option that names the model on the command line, for messages.
        needs_images: whether images are read. If not, a folder without an image processor will do, and the tokenizer
            is returned in place of the processor.
        config_options: fields of `ConCLIPConfig` to set, e.g. `freeze_image_encoder=False`.

    Raises:
        UsageError: the folder or repository does not hold a complete CLIP model with its processor.
    """
    subject = f"{option} {model_name_or_path}"
    with reporting_load_errors(model_name_or_path, subject):
        if (found := model_type(model_name_or_path, revision, subject)) != "clip":
            raise UsageError(f"{subject}: a {found} model, not a CLIP.")
        model, loading = ConCLIPModel.from_pretrained(
            model_name_or_path,
            revision=revision,
            dtype=torch.float32,
            **config_options,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        processor = load_processor(model_name_or_path, revision, subject, needs_images)
        require_all_weights(loading, subject)
        require_fitting_processor(processor, model.config, subject)
    return model, processor


@contextmanager
def reporting_load_errors(model_name_or_path: str, subject: str) -> Iterator[None]:
    """
    Turn any error of the libraries inside the `with` block into one sentence.

    Args:
        subject: the beginning of the message, e.g. "--model_name_or_path openai/clip-vit-base-patch32".

    Raises:
        UsageError: there is no such folder, or in place of any other error.
    """
    require_folder(model_name_or_path, subject)
    is_path = model_name_or_path.startswith((".", "/", "~")) or model_name_or_path.count("/") > 1
    if is_path and not Path(model_name_or_path).is_dir():
        raise UsageError(f"{subject}: there is no such folder.")
    verbosity = logging.get_verbosity()
    # Missing weights are reported in a sentence (`require_all_weights`) instead of a table.
    logging.set_verbosity_error()
    try:
        yield
    except UsageError:
        raise
    # Each format (json, safetensors, torch) and the client of the Hub has its own types of errors.
    except Exception as error:
        raise UsageError(f"{subject} cannot be loaded: {why_not_loaded(model_name_or_path, error)}") from error
    finally:
        logging.set_verbosity(verbosity)


def model_type(model_name_or_path: str, revision: str | None, subject: str) -> str | None:
    """
    Return the `model_type` of the model's config.json.

    Raises:
        UsageError: there is no config.json, or it asks for code; the message begins with `subject`.
    """
    config, _ = PreTrainedConfig.get_config_dict(model_name_or_path, revision=revision)
    if not config:
        require_whole_files(model_name_or_path, subject)
        raise UsageError(f"{subject}: no model there (config.json missing).")
    refuse_hub_code(config, subject)
    return config.get("model_type")


def require_whole_files(model_name_or_path: str, subject: str) -> None:
    """
    Check the files of a model that seems to lack some, for libraries take a damaged file for a missing one.

    Raises:
        UsageError: a file is damaged; the message begins with `subject` and names the file.
    """
    if damage := damaged_file(model_name_or_path):
        raise UsageError(f"{subject} cannot be loaded: {damage}")


def require_all_weights(loading: dict, subject: str) -> None:
    """
    Check that the files held every weight of the model.

    Args:
        loading: the loading info that `from_pretrained` returns with `output_loading_info=True`.

    Raises:
        UsageError: a weight is missing or has another shape; the message begins with `subject`.
    """
    absent = sorted([*loading["missing_keys"], *(name for name, *_ in loading["mismatched_keys"])])
    if absent:
        others = f" and {len(absent) - 1} more are" if len(absent) > 1 else " is"
        raise UsageError(
            f"{subject}: its weights do not fill the model of its config.json: {absent[0]}{others} missing or of "
            "another shape."
        )


def load_processor(
    model_name_or_path: str, revision: str | None, subject: str, needs_images: bool = True
) -> ProcessorMixin | PreTrainedTokenizerBase:
    """
    Load the `CLIPProcessor` that belongs to a model.

    Args:
        needs_images: whether the folder must hold an image processor; if not, and it holds none, its tokenizer is
            returned.

    Raises:
        UsageError: there are no files of a processor beside the weights; the message begins with `subject`.
    """
    try:
        processor = AutoProcessor.from_pretrained(model_name_or_path, revision=revision, trust_remote_code=False)
    except (OSError, ValueError):
        processor = None
    if processor is None and not needs_images:
        # Without the tokenizer's files this raises an OSError, which the caller reports.
        processor = AutoTokenizer.from_pretrained(model_name_or_path, revision=revision, trust_remote_code=False)
    tokenizer = tokenizer_of(processor)
    # If the files are missing, transformers makes a tokenizer that knows only the special tokens.
    is_empty = tokenizer is None or len(tokenizer) <= len(tokenizer.all_special_tokens)
    if is_empty or (needs_images and not hasattr(processor, "image_processor")):
        require_whole_files(model_name_or_path, subject)
        files = "a CLIPProcessor (preprocessor_config.json and the tokenizer's)" if needs_images else "its tokenizer"
        raise UsageError(f"{subject}: needs the files of {files} beside the weights.")
    return processor


def tokenizer_of(processor: ProcessorMixin | PreTrainedTokenizerBase | None) -> PreTrainedTokenizerBase | None:
    """Return the tokenizer of a processor, or the tokenizer itself."""
    return processor if isinstance(processor, PreTrainedTokenizerBase) else getattr(processor, "tokenizer", None)


def require_fitting_processor(
    processor: ProcessorMixin | PreTrainedTokenizerBase, config: CLIPConfig, subject: str
) -> None:
    """
    Check that the images and tokens that a processor makes are those that a CLIP model takes.

    Raises:
        UsageError: images of another size, or tokens that the model does not have; the message begins with `subject`.
    """
    tokenizer = tokenizer_of(processor)
    if hasattr(processor, "image_processor"):
        require_fitting_image_size(processor.image_processor, config.vision_config.image_size, subject)
    require_fitting_tokenizer(tokenizer, config.text_config, subject)
    end, found = config.text_config.eos_token_id, tokenizer.eos_token_id
    # 2 stands in the configs of old checkpoints; such a model takes the token with the largest id.
    if end != 2 and found not in (None, end):
        raise UsageError(
            f"{subject}: its tokenizer ends a text with token {found}, but its model looks for token {end}: correct "
            "`eos_token_id` of `text_config` in config.json."
        )


def require_fitting_tokenizer(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, subject: str) -> None:
    """
    Args:
        config: that of the text encoder.

    Raises:
        UsageError: the tokenizer makes tokens that the model does not have; the message begins with `subject`.
    """
    tokens, known = len(tokenizer), config.vocab_size
    if tokens > known:
        raise UsageError(
            f"{subject}: its tokenizer has {tokens:,} tokens, but its model has {known:,}: the tokenizer belongs to "
            "another model."
        )


def require_fitting_image_size(image_processor: BaseImageProcessor, image_size: int, subject: str) -> None:
    """
    Check that a processor makes square images of `image_size` pixels.

    Raises:
        UsageError: it makes others; the message begins with `subject` and names both sizes.
    """
    crops = getattr(image_processor, "do_center_crop", False)
    name = "crop_size" if crops else "size"
    made = getattr(image_processor, name)
    height, width = (made.get(side) or made.get("shortest_edge") for side in ("height", "width"))
    if (height, width) != (image_size, image_size):
        raise UsageError(
            f"{subject}: its processor makes images of {height} x {width} pixels, but its model takes {image_size} x "
            f"{image_size}: correct `{name}` in preprocessor_config.json or processor_config.json."
        )


def text_tokenizer(
    model: ConCLIPModel, processor: ProcessorMixin | PreTrainedTokenizerBase, clean: bool = False
) -> TextTokenizer:
    """Return the tokenizer of texts that belongs to a model; `clean`: see `TextTokenizer`."""
    config = model.config.text_config
    # Not the tokenizer's own maximum: loaded from vocab.json and merges.txt alone, it says 1e30 and cuts nothing.
    return TextTokenizer(tokenizer_of(processor), config.max_position_embeddings, config.eos_token_id, clean)


@contextmanager
def without_peft_warning() -> Iterator[None]:
    """Silence what transformers says of an attribute that peft reads, and that it is about to rename."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        yield


def add_lora(model: PreTrainedModel, config: LoraConfig) -> PeftModel:
    """
    Add low-rank adapters to the modules that the config names; everything else, logit_scale included, is frozen.

    Raises:
        UsageError: the config names no module of the model.
    """
    try:
        with without_peft_warning():
            return get_peft_model(model, config)
    except (ValueError, re.error) as error:
        raise UsageError(f"--lora_target_modules {config.target_modules}: {one_line(error)}") from error


def unwrap_lora(model: torch.nn.Module) -> torch.nn.Module:
    """Return the model inside LoRA adapters, or the model itself if it has none."""
    return model.get_base_model() if isinstance(model, PeftModel) else model
