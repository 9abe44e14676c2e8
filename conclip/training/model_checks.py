"""Check the model that is trained, and that settings and images fit it."""

import torch
from transformers import BaseImageProcessor, CLIPModel, PreTrainedModel

from conclip.embedding.embedding_column import EmbeddingColumn
from conclip.embedding.image_column import ImageColumn
from conclip.errors import UsageError
from conclip.public_names import public_name
from conclip.training.arguments import DISTILLATION, ConCLIPTrainingArguments
from modeling_conclip import ConCLIPModel


def require_finite_model(model: torch.nn.Module) -> None:
    """
    Raises:
        UsageError: the model to fine-tune has a weight that is not finite; the message names it.
    """
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise UsageError(f"The model to fine-tune has weights that are not finite, in {name}: load another model.")


def require_fitting_images(
    images: ImageColumn | EmbeddingColumn, image_processor: BaseImageProcessor | None, model: ConCLIPModel
) -> None:
    """
    Raises:
        UsageError: images without an image processor, embeddings of another width than the model's, or embeddings
            beside an image encoder that is trained.
    """
    name = public_name(model.config.name_or_path or "the model")
    if isinstance(images, EmbeddingColumn):
        if not model.image_encoder_is_frozen:
            raise UsageError("Embeddings do not train the image encoder: freeze it, or train on images.")
        images.require_width(model.config.projection_dim, name)
    elif image_processor is None:
        raise UsageError(f"{name} has no image processor: add preprocessor_config.json, or train on embeddings.")


def require_trainable(model: PreTrainedModel, args: ConCLIPTrainingArguments) -> None:
    """
    Check the class of a model.

    Raises:
        UsageError: a CLIP of transformers' own class, or settings that need a CLIP for a model of another family.
    """
    if isinstance(model, ConCLIPModel):
        return
    if isinstance(model, CLIPModel):
        raise UsageError("Load a CLIP model by ConCLIPModel.from_pretrained, not as CLIPModel.")
    require_texts_alone(args, f"{model.config.name_or_path or 'The model'}: a {model.config.model_type} model")


def require_texts_alone(args: ConCLIPTrainingArguments, subject: str) -> None:
    """
    Check the settings for a model of another family than CLIP.

    Raises:
        UsageError: the settings need a CLIP; the message begins with `subject`.
    """
    if args.loss != DISTILLATION:
        raise UsageError(
            f"{subject}, not a CLIP: other families can be trained only with --loss {DISTILLATION}, from texts alone."
        )
    if args.truth_weight:
        raise UsageError(f"{subject}, trained on texts alone: leave out --truth_weight, for which images are needed.")
    if args.image_embeds_column:
        raise UsageError(
            f"{subject}, trained on texts alone: leave out --image_embeds_column and --image_embeds_file."
        )
    if args.torch_compile:
        raise UsageError(f"{subject}, trained by transformers' own code: leave out --torch_compile.")
