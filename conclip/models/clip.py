"""Loading, adapting and saving the model."""

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
        option: the option by which the user named the model, for messages.
        config_options: fields of `ConCLIPConfig` to set, e.g. `freeze_image_encoder=False`.

    Raises:
        UsageError: the path or Hub id holds no whole CLIP with its processor.
    """
    blame = f"{option} {model_name_or_path}"
    with loading_of(model_name_or_path, blame):
        if (found := model_type(model_name_or_path, revision, blame)) != "clip":
            raise UsageError(f"{blame}: a {found} model, not a CLIP.")
        model, loading = ConCLIPModel.from_pretrained(
            model_name_or_path,
            revision=revision,
            dtype=torch.float32,
            **config_options,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        processor = load_processor(model_name_or_path, revision, blame)
        require_all_weights(loading, blame)
    return model, processor


@contextmanager
def loading_of(model_name_or_path: str, blame: str) -> Iterator[None]:
    """
    Args:
        blame: how a message begins.

    Raises:
        UsageError: there is no such folder, or whatever the libraries raise inside.
    """
    is_path = model_name_or_path.startswith((".", "/", "~")) or model_name_or_path.count("/") > 1
    if is_path and not Path(model_name_or_path).is_dir():
        raise UsageError(f"{blame}: there is no such folder.")
    verbosity = logging.get_verbosity()
    # What does not fit is said in a sentence instead of a table.
    logging.set_verbosity_error()
    try:
        yield
    except UsageError:
        raise
    # Each of the formats inside (json, safetensors, torch) and the Hub's client has error types of its own.
    except Exception as error:
        raise UsageError(f"{blame} cannot be loaded: {one_line(error)}") from error
    finally:
        logging.set_verbosity(verbosity)


def model_type(model_name_or_path: str, revision: str | None, blame: str) -> str | None:
    """As its config.json says."""
    config, _ = PreTrainedConfig.get_config_dict(model_name_or_path, revision=revision)
    if not config:
        raise UsageError(f"{blame}: no model there (config.json missing).")
    return config.get("model_type")


def require_all_weights(loading: dict, blame: str) -> None:
    """
    Args:
        loading: as `from_pretrained` gives with `output_loading_info`.

    Raises:
        UsageError: weights that the model has were not in the files.
    """
    absent = sorted([*loading["missing_keys"], *(name for name, *_ in loading["mismatched_keys"])])
    if absent:
        others = f" and {len(absent) - 1} more are" if len(absent) > 1 else " is"
        raise UsageError(
            f"{blame}: its weights do not fill the model of its config.json: {absent[0]}{others} missing or of "
            "another shape."
        )


def load_processor(model_name_or_path: str, revision: str | None, blame: str) -> ProcessorMixin:
    """
    Args:
        blame: how a message begins.

    Raises:
        UsageError: there is no CLIPProcessor beside the weights.
    """
    try:
        processor = AutoProcessor.from_pretrained(model_name_or_path, revision=revision)
    except (OSError, ValueError):
        processor = None
    tokenizer = getattr(processor, "tokenizer", None)
    # Without its files transformers makes one that knows the special tokens alone.
    is_empty = tokenizer is None or len(tokenizer) <= len(tokenizer.all_special_tokens)
    if is_empty or not hasattr(processor, "image_processor"):
        raise UsageError(
            f"{blame}: needs the files of a CLIPProcessor (preprocessor_config.json and the tokenizer's) beside the "
            "weights."
        )
    return processor


def text_tokenizer(model: ConCLIPModel, processor: ProcessorMixin) -> TextTokenizer:
    config = model.config.text_config
    # Not the tokenizer's length: loaded from vocab.json and merges.txt alone, that says 1e30 and cuts nothing.
    return TextTokenizer(processor.tokenizer, config.max_position_embeddings, config.eos_token_id)


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
    Writes a folder that `from_pretrained` loads, beside what is in it; each file appears whole or not at all.

    Of adapters it writes two things: `adapter/` for peft, and the merged weights as a plain model.

    Returns:
        The model as saved, adapters merged.
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
