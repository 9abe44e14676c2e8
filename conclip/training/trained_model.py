"""The model that a run trains: its preparation, what of it is saved, and what cards say it is."""

from pathlib import Path

from peft import LoraConfig, PeftModel
from transformers import CLIPModel, PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from transformers.models.auto.modeling_auto import MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES

from conclip.embedding.tokens import TextTokenizer
from conclip.hub import license_of
from conclip.models.clip import add_lora, require_fitting_processor, text_tokenizer, tokenizer_of, unwrap_lora
from conclip.models.text_distillation import EncoderTokenizer, TextDistillationModel
from conclip.public_names import is_local, public_name
from conclip.training.arguments import DISTILLATION, ConCLIPTrainingArguments
from conclip.training.model_checks import require_finite_model
from modeling_conclip import ConCLIPModel


def prepare_model(
    model: ConCLIPModel | PreTrainedModel,
    args: ConCLIPTrainingArguments,
    processing_class: ProcessorMixin | PreTrainedTokenizerBase,
    peft_config: LoraConfig | None = None,
) -> tuple[ConCLIPModel | PeftModel | TextDistillationModel, TextTokenizer | EncoderTokenizer]:
    """
    Set the weights of the loss and add adapters, in place; wrap a model of another family than CLIP.

    Returns:
        The model to train, and the tokenizer of its texts.

    Raises:
        UsageError: a weight is not finite, the processor does not fit the model, or no module gets an adapter.
    """
    require_finite_model(model)
    if not isinstance(model, ConCLIPModel):
        trained = add_lora(model, peft_config) if peft_config else model
        trained = TextDistillationModel(
            trained, tokenizer_of(processing_class), args.cosine_weight, args.profile_weight
        )
        return trained, trained.make_tokenizer()
    require_fitting_processor(processing_class, model.config, model.config.name_or_path or "the model")
    for name, weight in args.loss_weights.items():
        setattr(model.config, name, weight)
    trained = add_lora(model, peft_config) if peft_config else model
    if args.loss == DISTILLATION:
        # Texts alone give it no gradient, for which DistributedDataParallel would wait.
        model.logit_scale.requires_grad_(False)
    return trained, text_tokenizer(model, processing_class)


def saved_model(trained: ConCLIPModel | PeftModel | TextDistillationModel) -> PreTrainedModel | PeftModel:
    """Return the part of the trained model that is saved: transformers' own object, or adapters on it."""
    return trained.encoder.model if isinstance(trained, TextDistillationModel) else trained


def describe_model(
    trained: ConCLIPModel | PeftModel | TextDistillationModel,
    args: ConCLIPTrainingArguments,
    peft_config: LoraConfig | None,
    example: list[str],
) -> dict:
    """
    Return what the model is, for cards: the entry "model" of results.json.

    Args:
        example: two texts for the snippet of the card.
    """
    model, saved = unwrap_lora(trained), unwrap_lora(saved_model(trained))
    base, folder = model.config.name_or_path or "a model in memory", Path(args.output_dir).resolve().name
    repository = args.hub_model_id or folder
    return {
        "family": model.config.model_type,
        # Every CLIP is saved as transformers' own.
        "class": CLIPModel.__name__ if isinstance(saved, ConCLIPModel) else type(saved).__name__,
        "zero_shot": model.config.model_type in MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES,
        "name": repository.rpartition("/")[2],
        "repository": repository,
        "base_model": public_name(base),
        "base_is_on_hub": "/" in base and not is_local(base),
        "license": license_of(base),
        "loss": args.loss,
        "loss_weights": args.loss_weights,
        "image_encoder_is_frozen": model.image_encoder_is_frozen,
        "lora": describe_adapters(peft_config) if peft_config else None,
        "example": example,
    }


def describe_adapters(config: LoraConfig) -> dict:
    """Return the entry "lora" of the entry "model" of results.json."""
    modules = config.target_modules
    modules = modules if isinstance(modules, str | None) else ", ".join(sorted(modules))
    return {"rank": config.r, "alpha": config.lora_alpha, "target_modules": modules}
