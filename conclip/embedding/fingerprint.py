"""What an embedding depends on beside the image or text: the tower, the preprocessing, the precision."""

import json
from importlib.metadata import version

import torch
import xxhash
from transformers import BaseImageProcessor, PreTrainedConfig

from conclip.embedding.tokens import TextTokenizer
from modeling_conclip import ConCLIPModel

# Where a model came from and how it was saved; the type of the weights is told by the weights.
IRRELEVANT = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version", "processor_class")


def tower_meta(model: ConCLIPModel, image_processor: BaseImageProcessor, mixed_precision: str) -> dict:
    """For people to read and for `tower_key`: two models with the same meta give an image the same embedding."""
    modules = {"vision_model": model.vision_model, "visual_projection": model.visual_projection}
    return image_meta(modules, model.vision_model.config, image_processor, mixed_precision)


def text_tower_meta(model: ConCLIPModel, tokenizer: TextTokenizer, mixed_precision: str) -> dict:
    """The same for texts."""
    modules = {"text_model": model.text_model, "text_projection": model.text_projection}
    return text_meta(modules, model.text_model.config, tokenizer.state(), mixed_precision)


def image_meta(
    modules: dict[str, torch.nn.Module],
    config: PreTrainedConfig,
    image_processor: BaseImageProcessor,
    mixed_precision: str,
) -> dict:
    """
    Args:
        modules: all that an image goes through.
        config: theirs.
    """
    packages = ["datasets", "pillow", "transformers"]
    if any("Torchvision" in cls.__name__ for cls in type(image_processor).__mro__):
        packages.append("torchvision")
    return {
        "weights": weights_hash(modules),
        "vision_config": _relevant(config.to_dict()),
        "image_processor": {"class": type(image_processor).__name__, **_relevant(image_processor.to_dict())},
        "mixed_precision": mixed_precision,
        "versions": {name: version(name) for name in packages},
    }


def text_meta(
    modules: dict[str, torch.nn.Module], config: PreTrainedConfig, tokenizer_state: str, mixed_precision: str
) -> dict:
    """
    Args:
        modules: all that a text goes through.
        config: theirs.
        tokenizer_state: all that its tokens depend on.
    """
    return {
        "weights": weights_hash(modules),
        "text_config": _relevant(config.to_dict()),
        "tokenizer": xxhash.xxh3_128_hexdigest(tokenizer_state.encode()),
        "mixed_precision": mixed_precision,
        "versions": {name: version(name) for name in ("tokenizers", "transformers")},
    }


def tower_key(meta: dict) -> str:
    return xxhash.xxh3_128_hexdigest(_json(meta).encode())


def weights_hash(modules: dict[str, torch.nn.Module]) -> str:
    """XXH3 (128 bits) of names, types, shapes and bytes of all weights, wherever they are."""
    hasher = xxhash.xxh3_128()
    for prefix, module in modules.items():
        for name, tensor in sorted(module.state_dict().items()):
            hasher.update(f"{prefix}.{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            # As bytes: numpy knows no bfloat16.
            hasher.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return hasher.hexdigest()


def _relevant(settings: dict) -> dict:
    kept = {name: value for name, value in settings.items() if name not in IRRELEVANT}
    return json.loads(_json(kept))


def _json(value: dict) -> str:
    return json.dumps(value, sort_keys=True, default=str)
