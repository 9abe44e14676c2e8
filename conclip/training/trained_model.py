"""The model that a run trains: the weights of its loss, its adapters, and its tokenizer."""

from peft import LoraConfig, PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from conclip.embedding.tokens import TextTokenizer
from conclip.models.clip import add_lora, require_fitting_processor, text_tokenizer, tokenizer_of
from conclip.models.text_distillation import EncoderTokenizer, TextDistillationModel
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
