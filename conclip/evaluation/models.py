"""Any model that can be scored, by its folder or Hub id: CLIP and ConCLIP, adapters, and those people compare with."""

from collections.abc import Iterator
from dataclasses import dataclass

from accelerate import Accelerator
from peft import PeftConfig, PeftModel
from transformers import BaseImageProcessor, PreTrainedConfig, ProcessorMixin

from conclip.embedding.images import ImageEmbedder, embedding_cache_dir
from conclip.errors import UsageError, one_line
from conclip.evaluation.arguments import EvaluationArguments
from conclip.evaluation.scorers import EmbeddingScorer, MatchingScorer, clip_scorer, encoder_scorer
from conclip.models.blip import BlipMatcher
from conclip.models.clip import load_model, model_type, text_tokenizer
from conclip.models.encoders import load_encoder
from conclip.models.quick_gelu import quick_gelu_warning
from modeling_conclip import ConCLIPModel


@dataclass
class Loaded:
    """
    A way to score with a model.

    Args:
        label: its column in the table.
        told: what a report says of it.
    """

    label: str
    scorer: EmbeddingScorer | MatchingScorer
    told: dict


def load_scorers(
    name_or_path: str, label: str, arguments: EvaluationArguments, accelerator: Accelerator
) -> Iterator[Loaded]:
    """
    One, or of BLIP two: by its contrastive and by its matching score.

    Raises:
        UsageError: no whole model of a supported family.
    """
    batch_size = arguments.per_device_eval_batch_size

    def embedder(image_processor: BaseImageProcessor) -> ImageEmbedder:
        cache_dir = embedding_cache_dir(arguments.embedding_cache_dir)
        return ImageEmbedder(image_processor, accelerator, batch_size, arguments.dataloader_num_workers, cache_dir)

    family = family_of(name_or_path, arguments.revision)
    base = None if family else adapted_base(name_or_path, arguments.revision)
    if family in ("clip", None):
        model, processor = load_clip(name_or_path, base, arguments.revision)
        warning = quick_gelu_warning(base or name_or_path, model.config, model, None if base else arguments.revision)
        model.to(accelerator.device).eval()
        own = embedder(processor.image_processor)
        scorer = clip_scorer(model, text_tokenizer(model, processor), own, batch_size)
        told = describe(name_or_path, model.config, processor.image_processor)
        yield Loaded(label, scorer, {**told, "base_model": base, "warning": warning})
        return
    encoder = load_encoder(name_or_path, arguments.revision)
    encoder.to(accelerator.device)
    own, told = embedder(encoder.image_processor), describe(name_or_path, encoder.config, encoder.image_processor)
    if isinstance(encoder, BlipMatcher):
        yield Loaded(f"{label} (ITC)", encoder_scorer(encoder, own, batch_size), told)
        yield Loaded(f"{label} (ITM)", MatchingScorer(encoder, own, batch_size), told)
    else:
        yield Loaded(label, encoder_scorer(encoder, own, batch_size), told)


def family_of(name_or_path: str, revision: str | None) -> str | None:
    """Its `model_type`; `None` where there is none to be read, as of adapters, or as loading says in words."""
    try:
        return model_type(name_or_path, revision, blame=name_or_path)
    # TypeError: a config.json that holds no object.
    except (OSError, TypeError, ValueError):
        return None


def adapted_base(name_or_path: str, revision: str | None) -> str | None:
    """Of a folder or repository that holds adapters alone, the model they belong to."""
    try:
        return PeftConfig.from_pretrained(name_or_path, revision=revision).base_model_name_or_path
    # As it says of whatever holds none; the last two of an adapter_config.json of a wrong type or of another method.
    except (OSError, ValueError, TypeError, KeyError):
        return None


def load_clip(name_or_path: str, base: str | None, revision: str | None) -> tuple[ConCLIPModel, ProcessorMixin]:
    """
    Args:
        base: of adapters, which are merged into it.
    """
    if base is None:
        return load_model(name_or_path, revision, option="--model")
    model, processor = load_model(base, option=f"--model {name_or_path}: its base model")
    try:
        return PeftModel.from_pretrained(model, name_or_path, revision=revision).merge_and_unload(), processor
    # Of config, of weights, and of targets that the base lacks, each has its own.
    except Exception as error:
        raise UsageError(f"--model {name_or_path}: the adapters cannot be loaded: {one_line(error)}") from error


def describe(name_or_path: str, config: PreTrainedConfig, image_processor: BaseImageProcessor) -> dict:
    towers = {name: getattr(config, f"{name}_config", None) for name in ("text", "vision")}
    return {
        "name_or_path": name_or_path,
        "model_type": config.model_type,
        "revision": getattr(config, "_commit_hash", None),
        "hidden_act": {name: getattr(tower, "hidden_act", None) for name, tower in towers.items()},
        "image_processor": type(image_processor).__name__,
    }
