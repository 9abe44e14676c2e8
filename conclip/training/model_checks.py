"""Check that settings and images fit the model that is trained."""

from transformers import BaseImageProcessor

from conclip.embedding.embedding_column import EmbeddingColumn
from conclip.embedding.image_column import ImageColumn
from conclip.errors import UsageError
from conclip.public_names import public_name
from conclip.training.arguments import DISTILLATION, ConCLIPTrainingArguments
from modeling_conclip import ConCLIPModel


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
