"""What the embedding of an image depends on beside the image: the tower, the preprocessing, the precision."""

import json
from importlib.metadata import version

import torch
import xxhash
from transformers import BaseImageProcessor

from modeling_conclip import ConCLIPModel

# Where a model came from and how it was saved; the type of the weights is told by the weights.
IRRELEVANT = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version", "processor_class")


def tower_meta(model: ConCLIPModel, image_processor: BaseImageProcessor, mixed_precision: str) -> dict:
    """For people to read and for `tower_key`: two models with the same meta give an image the same embedding."""
    packages = ["datasets", "pillow", "transformers"]
    if any("Torchvision" in cls.__name__ for cls in type(image_processor).__mro__):
        packages.append("torchvision")
    return {
        "weights": weights_hash({"vision_model": model.vision_model, "visual_projection": model.visual_projection}),
        "vision_config": _relevant(model.vision_model.config.to_dict()),
        "image_processor": {"class": type(image_processor).__name__, **_relevant(image_processor.to_dict())},
        "mixed_precision": mixed_precision,
        "versions": {name: version(name) for name in packages},
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
