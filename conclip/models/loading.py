"""Load a model of any supported family, by folder or Hub id, as an encoder with cached embeddings."""

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from peft import PeftConfig, PeftModel
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
    BaseImageProcessor,
    BlipForImageTextRetrieval,
    CLIPModel,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from conclip.embedding.images import ImageEmbedder
from conclip.errors import UsageError
from conclip.model_folders import why_not_loaded
from conclip.models.blip import BlipMatcher
from conclip.models.cached_encoder import CachedEncoder, cached_clip, cached_dual_encoder
from conclip.models.clip import (
    load_model,
    model_type,
    reporting_load_errors,
    require_all_weights,
    require_fitting_image_size,
    require_fitting_processor,
    require_whole_files,
    text_tokenizer,
    unwrap_lora,
    without_peft_warning,
)
from conclip.models.dual_encoder import DualEncoder, FlavaEncoder, SiglipEncoder
from conclip.models.openai_pixels import openai_pixels
from conclip.models.quick_gelu import quick_gelu_warning
from modeling_conclip import ConCLIPModel

# model_type -> transformers' class and ours. CLIP is not here: its embeddings are computed in faster ways of our own.
FAMILIES = {
    "align": (AutoModel, DualEncoder),
    "blip": (BlipForImageTextRetrieval, BlipMatcher),
    "chinese_clip": (AutoModel, DualEncoder),
    "flava": (AutoModel, FlavaEncoder),
    "siglip": (AutoModel, SiglipEncoder),
    "siglip2": (AutoModel, SiglipEncoder),
}


@dataclass
class LoadedModel:
    """
    A model that is ready to embed images and texts.

    Args:
        encoder: gives the cached embeddings.
        matcher: for BLIP, the model that also scores pairs of image and text directly; otherwise `None`.
        description: facts for a report: name_or_path, model_type, revision, hidden_act, image_processor; for CLIP also
            base_model (of adapters) and warning.
    """

    encoder: CachedEncoder
    matcher: BlipMatcher | None
    description: dict


def load_encoders(
    model_name_or_path: str,
    accelerator: Accelerator,
    cache_dir: Path,
    revision: str | None = None,
    batch_size: int = 256,
    num_workers: int = 0,
    preprocessing: str = "transformers",
    clean_text: bool = False,
) -> LoadedModel:
    """
    Load CLIP, ConCLIP, LoRA adapters of either, SigLIP, SigLIP 2, ALIGN, Chinese-CLIP, FLAVA or BLIP, in float32.

    Args:
        model_name_or_path: folder or Hub id.
        cache_dir: folder of the cached embeddings, see `embedding_cache_dir`.
        revision: branch, tag or commit on the Hub.
        batch_size: number of images, or texts, per batch.
        num_workers: number of processes that decode and preprocess images, per process.
        preprocessing: "transformers" for the image processor of the model, or "openai", see `OpenAIPixels`.
        clean_text: clean the texts for a CLIP model as OpenAI's tokenizer does, see `clean_text`.

    Raises:
        UsageError: there is no complete model of a supported family, or it has no such preprocessing.
    """
    settings = (accelerator, cache_dir, batch_size, num_workers)
    family = family_of(model_name_or_path, revision)
    base = None if family else _base_of_adapters(model_name_or_path, revision)
    if family in ("clip", None):
        model, processor = _load_clip(model_name_or_path, base, revision)
        warning = quick_gelu_warning(base or model_name_or_path, model.config, model, None if base else revision)
        facts = {"base_model": base, "warning": warning}
        return _clip(model, processor, model_name_or_path, facts, preprocessing, clean_text, *settings)
    _require_clip(preprocessing, model_name_or_path, family)
    return _dual_encoder(load_dual_encoder(model_name_or_path, revision), model_name_or_path, *settings)


def wrap_encoders(
    model: PreTrainedModel | PeftModel,
    processor: ProcessorMixin,
    accelerator: Accelerator,
    cache_dir: Path,
    batch_size: int = 256,
    num_workers: int = 0,
    preprocessing: str = "transformers",
    clean_text: bool = False,
) -> LoadedModel:
    """
    Do the same as `load_encoders` with a model in memory; it is moved to the accelerator's device, in eval mode.

    CLIP computes in float32, as the command does, whatever the dtype of the model in memory.

    Args:
        processor: holds the image processor and the tokenizer.

    Raises:
        UsageError: the model belongs to no supported family, or it has no such preprocessing.
    """
    settings = (accelerator, cache_dir, batch_size, num_workers)
    model = unwrap_lora(model)
    name, family = model.config._name_or_path, model.config.model_type
    if isinstance(model, CLIPModel):
        require_fitting_processor(processor, model.config, name or "the model")
        if not isinstance(model, ConCLIPModel) or model.dtype != torch.float32:
            weights = model.state_dict()
            model = ConCLIPModel(ConCLIPModel.config_class(**model.config.to_dict()))
            # Shared, not copied: the sums of some kernels depend on the alignment of the weights in memory.
            model.load_state_dict(weights, assign=True)
            model.float()
        facts = {"base_model": None, "warning": quick_gelu_warning(name, model.config, model)}
        return _clip(model, processor, name, facts, preprocessing, clean_text, *settings)
    if family not in FAMILIES:
        raise UsageError(f"A {family} model cannot be evaluated; supported are clip, {', '.join(FAMILIES)}.")
    _require_clip(preprocessing, name, family)
    return _dual_encoder(FAMILIES[family][1](model, processor.image_processor, processor.tokenizer), name, *settings)


def load_dual_encoder(model_name_or_path: str, revision: str | None = None) -> DualEncoder:
    """
    Load a model of one of `FAMILIES`, in float32 and eval mode, with its processors.

    Args:
        model_name_or_path: folder or Hub id.
        revision: branch, tag or commit on the Hub.

    Returns:
        The encoder; for BLIP, a `BlipMatcher`.

    Raises:
        UsageError: there is no complete model of a supported family with its processors.
    """
    subject = f"--model_name_or_path {model_name_or_path}"
    with reporting_load_errors(model_name_or_path, subject):
        family = model_type(model_name_or_path, revision, subject)
        if family not in FAMILIES:
            raise UsageError(f"{subject}: a {family} model; supported are clip, {', '.join(FAMILIES)}.")
        loader, encoder = FAMILIES[family]
        model, _ = _load_weights(loader, model_name_or_path, revision, subject)
        image_processor, tokenizer = _load_processors(model_name_or_path, revision, subject)
        _require_fitting_images(image_processor, model.config, subject)
        return encoder(model, image_processor, tokenizer)


def load_text_model(
    model_name_or_path: str, revision: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, list[str]]:
    """
    Load a model of any family in float32 with its tokenizer, to train its text encoder.

    Args:
        model_name_or_path: folder or Hub id.
        revision: branch, tag or commit on the Hub.

    Returns:
        The model, of its own class of transformers; its tokenizer; and the names of weights that its files hold and
        the class does not have.

    Raises:
        UsageError: there is no complete model with its tokenizer.
    """
    subject = f"--model_name_or_path {model_name_or_path}"
    with reporting_load_errors(model_name_or_path, subject):
        family = model_type(model_name_or_path, revision, subject)
        loader, _ = FAMILIES.get(family, (AutoModel, DualEncoder))
        model, surplus = _load_weights(loader, model_name_or_path, revision, subject)
        return model, _load_tokenizer(model_name_or_path, revision, subject), surplus


def encoder_class(family: str) -> type[DualEncoder]:
    """Return our class for the models of a family; `DualEncoder` for one that is not in `FAMILIES`."""
    return FAMILIES.get(family, (AutoModel, DualEncoder))[1]


def _load_weights(
    loader: type, model_name_or_path: str, revision: str | None, subject: str
) -> tuple[PreTrainedModel, list[str]]:
    model, loading = loader.from_pretrained(
        model_name_or_path,
        revision=revision,
        trust_remote_code=False,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    require_all_weights(loading, subject)
    # Older versions of transformers saved positions, which are counted.
    return model, sorted(name for name in loading["unexpected_keys"] if not name.endswith("position_ids"))


def _require_fitting_images(image_processor: BaseImageProcessor, config: PreTrainedConfig, subject: str) -> None:
    encoder = getattr(config, "image_config", None) or getattr(config, "vision_config", None)
    # Only a vision transformer with a fixed number of patches needs one size; ALIGN and NaFlex models take others too.
    size = getattr(encoder, "image_size", None)
    if isinstance(size, int) and hasattr(encoder, "patch_size"):
        require_fitting_image_size(image_processor, size, subject)


def _load_processors(
    model_name_or_path: str, revision: str | None, subject: str
) -> tuple[BaseImageProcessor, PreTrainedTokenizerBase]:
    files = "the files of its processor (preprocessor_config.json and the tokenizer's)"
    try:
        image_processor = AutoImageProcessor.from_pretrained(
            model_name_or_path, revision=revision, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        require_whole_files(model_name_or_path, subject)
        raise UsageError(f"{subject}: needs {files} beside the weights.") from error
    return image_processor, _load_tokenizer(model_name_or_path, revision, subject, files)


def _load_tokenizer(
    model_name_or_path: str, revision: str | None, subject: str, files: str = "the files of its tokenizer"
) -> PreTrainedTokenizerBase:
    try:
        tokenizer = AutoTokenizer.from_pretrained(model_name_or_path, revision=revision, trust_remote_code=False)
    except (OSError, ValueError):
        tokenizer = None
    except ImportError as error:
        # SigLIP's tokenizer; the message of transformers is a page long.
        raise UsageError(
            f"{subject}: its tokenizer needs more packages: pip install sentencepiece protobuf"
        ) from error
    # If the files are missing, transformers makes a tokenizer that knows only the special tokens.
    if tokenizer is None or len(tokenizer) <= len(tokenizer.all_special_tokens):
        require_whole_files(model_name_or_path, subject)
        raise UsageError(f"{subject}: needs {files} beside the weights.")
    return tokenizer


def _clip(
    model: ConCLIPModel,
    processor: ProcessorMixin,
    name_or_path: str,
    facts: dict,
    preprocessing: str,
    clean_text: bool,
    accelerator: Accelerator,
    cache_dir: Path,
    batch_size: int,
    num_workers: int,
) -> LoadedModel:
    model.to(accelerator.device).eval()
    embedder = ImageEmbedder(processor.image_processor, accelerator, batch_size, num_workers, cache_dir)
    description = {**_description(name_or_path, model.config, processor.image_processor), **facts}
    preprocess = None
    if preprocessing == "openai":
        preprocess = openai_pixels(processor.image_processor, f"--preprocessing openai: {name_or_path}")
        description["image_processor"] = "openai"
    encoder = cached_clip(model, text_tokenizer(model, processor, clean_text), embedder, batch_size, preprocess)
    return LoadedModel(encoder, None, description)


def _require_clip(preprocessing: str, name_or_path: str, family: str) -> None:
    if preprocessing == "openai":
        raise UsageError(
            f"--preprocessing openai: {name_or_path} is a {family} model; evaluate it without this option, which is "
            "for CLIP models."
        )


def _dual_encoder(
    encoder: DualEncoder,
    name_or_path: str,
    accelerator: Accelerator,
    cache_dir: Path,
    batch_size: int,
    num_workers: int,
) -> LoadedModel:
    encoder.to(accelerator.device)
    embedder = ImageEmbedder(encoder.image_processor, accelerator, batch_size, num_workers, cache_dir)
    return LoadedModel(
        cached_dual_encoder(encoder, embedder, batch_size),
        encoder if isinstance(encoder, BlipMatcher) else None,
        _description(name_or_path, encoder.config, encoder.image_processor),
    )


def family_of(name_or_path: str, revision: str | None) -> str | None:
    """Return the `model_type`; `None` for adapters, and if it cannot be read, which loading reports later."""
    try:
        return model_type(name_or_path, revision, subject=name_or_path)
    # TypeError: a config.json that does not hold an object.
    except (OSError, TypeError, ValueError):
        return None


def _base_of_adapters(name_or_path: str, revision: str | None) -> str | None:
    """Return the base model of a folder or repository that holds only adapters."""
    try:
        return PeftConfig.from_pretrained(name_or_path, revision=revision).base_model_name_or_path
    # There are no adapters, or adapter_config.json has a wrong type or names another method.
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _load_clip(name_or_path: str, base: str | None, revision: str | None) -> tuple[ConCLIPModel, ProcessorMixin]:
    """Load a CLIP model or, if `base` is given, merge adapters into that model."""
    if base is None:
        return load_model(name_or_path, revision)
    subject = f"--model_name_or_path {name_or_path}"
    if "/" not in base and not Path(base).exists():
        # Adapters record no path of the machine that trained them, only the name of the folder.
        raise UsageError(
            f"{subject}: the base model of these adapters, {base}, was a local folder: name the folder above, which "
            f"holds the model with the adapters merged, or run the command beside {base}."
        )
    model, processor = load_model(base, option=f"{subject}: its base model")
    try:
        with without_peft_warning():
            return PeftModel.from_pretrained(model, name_or_path, revision=revision).merge_and_unload(), processor
    # peft raises different errors for a bad config, bad weights, and modules that the base model lacks.
    except Exception as error:
        reason = why_not_loaded(name_or_path, error)
        folder = Path(name_or_path)
        if folder.is_dir() and not any(folder.glob("adapter_model.*")):
            reason = f"{folder} holds no adapter_model.safetensors; copy it there."
        raise UsageError(f"{subject}: the adapters cannot be loaded: {reason}") from error


def _description(name_or_path: str, config: PreTrainedConfig, image_processor: BaseImageProcessor) -> dict:
    encoders = {name: getattr(config, f"{name}_config", None) for name in ("text", "vision")}
    return {
        "name_or_path": name_or_path,
        "model_type": config.model_type,
        "revision": getattr(config, "_commit_hash", None),
        "hidden_act": {name: getattr(encoder, "hidden_act", None) for name, encoder in encoders.items()},
        "image_processor": type(image_processor).__name__,
    }
