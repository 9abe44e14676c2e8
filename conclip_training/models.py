"""Loading, adapting and saving the model."""

import os
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoProcessor, ProcessorMixin

from conclip_training.arguments import ModelArguments, UsageError
from modeling_conclip import ConCLIPModel


def load_model(arguments: ModelArguments, model_name_or_path: str) -> tuple[ConCLIPModel, ProcessorMixin]:
    """
    Any CLIP or ConCLIP, in float32 (mixed precision keeps master weights), with its processor.

    Raises:
        UsageError: the path or Hub id holds no CLIP with its processor.
    """
    try:
        model = ConCLIPModel.from_pretrained(
            model_name_or_path,
            revision=arguments.revision,
            dtype=torch.float32,
            l1_weight=arguments.l1_weight,
            l2_weight=arguments.l2_weight,
            l3_weight=arguments.l3_weight,
            freeze_image_encoder=not arguments.train_image_encoder,
        )
        processor = AutoProcessor.from_pretrained(model_name_or_path, revision=arguments.revision)
    except (OSError, ValueError) as error:
        raise UsageError(f"--model_name_or_path {model_name_or_path}: {error}") from error
    if not hasattr(processor, "image_processor") or not hasattr(processor, "tokenizer"):
        raise UsageError(
            f"--model_name_or_path {model_name_or_path}: needs the files of a CLIPProcessor (preprocessor_config.json "
            "and the tokenizer's) beside the weights."
        )
    return model, processor


def max_text_length(model: ConCLIPModel) -> int:
    # Not the tokenizer's: loaded from vocab.json and merges.txt alone, that says 1e30 and cuts nothing.
    return model.config.text_config.max_position_embeddings


def add_lora(model: ConCLIPModel, arguments: ModelArguments) -> PeftModel:
    """Adapters on the modules the arguments name; everything else, logit_scale included, is frozen."""
    config = LoraConfig(
        r=arguments.lora_rank,
        lora_alpha=arguments.lora_alpha,
        lora_dropout=arguments.lora_dropout,
        target_modules=arguments.lora_target_modules,
    )
    try:
        adapted = get_peft_model(model, config)
    except ValueError as error:
        raise UsageError(f"--lora_target_modules {arguments.lora_target_modules}: {error}") from error
    return adapted


def conclip_of(model: ConCLIPModel | PeftModel) -> ConCLIPModel:
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
