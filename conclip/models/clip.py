"""Load, adapt and save CLIP and ConCLIP models."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoProcessor, PreTrainedConfig, ProcessorMixin
from transformers.utils import logging

from conclip.embedding.tokens import TextTokenizer
from conclip.errors import UsageError, one_line
from modeling_conclip import ConCLIPModel


def load_model(
    model_name_or_path: str, revision: str | None = None, option: str = "--model_name_or_path", **config_options
) -> tuple[ConCLIPModel, ProcessorMixin]:
    """
    Load a CLIP or ConCLIP in float32 (mixed precision keeps master weights) with its processor.

    Args:
        model_name_or_path: folder or Hub id.
        revision: branch, tag or commit on the Hub.
        option: the option that names the model on the command line, for messages.
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
        processor = load_processor(model_name_or_path, revision, subject)
        require_all_weights(loading, subject)
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
        raise UsageError(f"{subject} cannot be loaded: {one_line(error)}") from error
    finally:
        logging.set_verbosity(verbosity)


def model_type(model_name_or_path: str, revision: str | None, subject: str) -> str | None:
    """
    Return the `model_type` of the model's config.json.

    Raises:
        UsageError: there is no config.json; the message begins with `subject`.
    """
    config, _ = PreTrainedConfig.get_config_dict(model_name_or_path, revision=revision)
    if not config:
        raise UsageError(f"{subject}: no model there (config.json missing).")
    return config.get("model_type")


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


def load_processor(model_name_or_path: str, revision: str | None, subject: str) -> ProcessorMixin:
    """
    Load the `CLIPProcessor` that belongs to a model.

    Raises:
        UsageError: there are no files of a processor beside the weights; the message begins with `subject`.
    """
    try:
        processor = AutoProcessor.from_pretrained(model_name_or_path, revision=revision)
    except (OSError, ValueError):
        processor = None
    tokenizer = getattr(processor, "tokenizer", None)
    # If the files are missing, transformers makes a tokenizer that knows only the special tokens.
    is_empty = tokenizer is None or len(tokenizer) <= len(tokenizer.all_special_tokens)
    if is_empty or not hasattr(processor, "image_processor"):
        raise UsageError(
            f"{subject}: needs the files of a CLIPProcessor (preprocessor_config.json and the tokenizer's) beside the "
            "weights."
        )
    return processor


def text_tokenizer(model: ConCLIPModel, processor: ProcessorMixin, clean: bool = False) -> TextTokenizer:
    """Return the tokenizer of texts that belongs to a model; `clean`: see `TextTokenizer`."""
    config = model.config.text_config
    # Not the tokenizer's own maximum: loaded from vocab.json and merges.txt alone, it says 1e30 and cuts nothing.
    return TextTokenizer(processor.tokenizer, config.max_position_embeddings, config.eos_token_id, clean)


def add_lora(model: ConCLIPModel, config: LoraConfig) -> PeftModel:
    """
    Add low-rank adapters to the modules that the config names; everything else, logit_scale included, is frozen.

    Raises:
        UsageError: the config names no module of the model.
    """
    try:
        return get_peft_model(model, config)
    except (ValueError, re.error) as error:
        raise UsageError(f"--lora_target_modules {config.target_modules}: {one_line(error)}") from error


def unwrap_lora(model: ConCLIPModel | PeftModel) -> ConCLIPModel:
    """Return the ConCLIP model inside LoRA adapters, or the model itself if it has none."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def save_model(model: ConCLIPModel | PeftModel, processor: ProcessorMixin, output_dir: Path) -> ConCLIPModel:
    """
    Write a folder that `from_pretrained` loads; other files in it stay, and each new file is renamed into place.

    A model with LoRA adapters is written twice: `adapter/` for peft, and the merged weights as a plain model.

    Returns:
        The model that was saved, with adapters merged.
    """
    unfinished = output_dir / "unfinished-model"
    shutil.rmtree(unfinished, ignore_errors=True)
    if isinstance(model, PeftModel):
        model.save_pretrained(unfinished / "adapter")
        model = model.merge_and_unload()
    model.save_pretrained(unfinished)
    processor.save_pretrained(unfinished)
    shutil.rmtree(output_dir / "adapter", ignore_errors=True)
    for path in sorted(unfinished.iterdir()):
        os.replace(path, output_dir / path.name)
    unfinished.rmdir()
    return model
