"""
Everything that an embedding depends on besides the image or text: the encoder, the preprocessing, the precision.

The descriptions are for people to read and for `encoder_fingerprint`: two encoders with the same description give an
image (or text) the same embedding.
"""

import json
from importlib.metadata import version

import torch
import xxhash
from transformers import BaseImageProcessor, PreTrainedConfig

from conclip.embedding.tokens import TextTokenizer
from modeling_conclip import ConCLIPModel

# Raise it whenever images are decoded in another way: 2 scales images of 16 bits, 1 clipped them.
DECODING = 2
# Of the model that the embeddings were computed with first. Equal weights give equal embeddings under any name.
NAME = "model"
# Where a model came from and how it was saved. The dtype of the weights is part of their hash.
IRRELEVANT = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version", "processor_class")


def clip_image_encoder_description(
    model: ConCLIPModel, image_processor: BaseImageProcessor, mixed_precision: str
) -> dict:
    """Return the description of CLIP's image encoder."""
    modules = {"vision_model": model.vision_model, "visual_projection": model.visual_projection}
    description = image_encoder_description(modules, model.vision_model.config, image_processor, mixed_precision)
    return {NAME: model.config.name_or_path, **description}


def clip_text_encoder_description(model: ConCLIPModel, tokenizer: TextTokenizer, mixed_precision: str) -> dict:
    """Return the description of CLIP's text encoder."""
    modules = {"text_model": model.text_model, "text_projection": model.text_projection}
    description = text_encoder_description(modules, model.text_model.config, tokenizer.state(), mixed_precision)
    return {NAME: model.config.name_or_path, **description}


def image_encoder_description(
    modules: dict[str, torch.nn.Module],
    config: PreTrainedConfig,
    image_processor: BaseImageProcessor,
    mixed_precision: str,
) -> dict:
    """
    Return the description of an image encoder of any family.

    Args:
        modules: name -> each module that an image passes through.
        config: the config of these modules.
    """
    packages = ["datasets", "pillow", "transformers"]
    if any("Torchvision" in cls.__name__ for cls in type(image_processor).__mro__):
        packages.append("torchvision")
    return {
        NAME: config.name_or_path,
        "weights": weights_hash(modules),
        "vision_config": _relevant(config.to_dict()),
        "image_processor": {"class": type(image_processor).__name__, **_relevant(image_processor.to_dict())},
        "mixed_precision": mixed_precision,
        "decoding": DECODING,
        "versions": {name: version(name) for name in packages},
    }


def text_encoder_description(
    modules: dict[str, torch.nn.Module], config: PreTrainedConfig, tokenizer_state: str, mixed_precision: str
) -> dict:
    """
    Return the description of a text encoder of any family.

    Args:
        modules: name -> each module that a text passes through.
        config: the config of these modules.
        tokenizer_state: everything that the tokens depend on.
    """
    return {
        NAME: config.name_or_path,
        "weights": weights_hash(modules),
        "text_config": _relevant(config.to_dict()),
        "tokenizer": xxhash.xxh3_128_hexdigest(tokenizer_state.encode()),
        "mixed_precision": mixed_precision,
        "versions": {name: version(name) for name in ("tokenizers", "transformers")},
    }


def encoder_fingerprint(description: dict) -> str:
    """Return 32 hexadecimal digits that are the same for encoders of the same description, whatever their names."""
    relevant = {name: value for name, value in description.items() if name != NAME}
    return xxhash.xxh3_128_hexdigest(_json(relevant).encode())


def weights_hash(modules: dict[str, torch.nn.Module]) -> str:
    """Return XXH3 (128 bits) of the names, dtypes, shapes and bytes of all weights, on whatever device they are."""
    hasher = xxhash.xxh3_128()
    for prefix, module in modules.items():
        for name, tensor in sorted(module.state_dict().items()):
            hasher.update(f"{prefix}.{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            # As bytes: numpy has no bfloat16.
            hasher.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return hasher.hexdigest()


def _relevant(settings: dict) -> dict:
    return json.loads(_json({name: value for name, value in settings.items() if name not in IRRELEVANT}))


def _json(value: dict) -> str:
    return json.dumps(value, sort_keys=True, default=str)
