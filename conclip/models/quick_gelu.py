"""
A warning for a common mistake in converted models: a wrong activation function.

OpenAI's CLIP models, and those fine-tuned from them, were trained with QuickGELU, x · sigmoid(1.702 x). A converted
folder whose config.json says "gelu" loads without any message and scores lower.
"""

import json
import re
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.repocard import metadata_load
from transformers import CLIPConfig, CLIPModel
from yaml import YAMLError

OPENAI = re.compile(
    r"(^|/)clip-vit-(base-patch(16|32)|large-patch14(-336)?)/?$|^sentence-transformers/clip-vit-[bl]-(14|16|32)$",
    re.IGNORECASE,
)
NEGCLIP = re.compile(r"neg[-_]?clip[^/]*/?$", re.IGNORECASE)
# Trained with GELU.
LAION = re.compile("laion", re.IGNORECASE)


def quick_gelu_warning(
    name_or_path: str, config: CLIPConfig, model: CLIPModel | None = None, revision: str | None = None
) -> str | None:
    """
    Return a warning if the config does not say "quick_gelu" but the weights come from OpenAI's; `None` otherwise.

    The weights are recognised, in this order, by

    - the name of the model: an id of OpenAI's models on the Hub, or a folder of such a name;
    - a record of its base model: `_name_or_path` in config.json (written by transformers 4), `base_model` in the
      metadata of README.md or in results.json (written by our training command);
    - a name that ends in NegCLIP, unless one of the names contains LAION;
    - the weights of the image encoder (`has_openai_vision_weights`). This also finds a converted CoN-CLIP, whose image
      encoder was frozen, but cannot check a text encoder.

    Two cases cannot be recognised: a model with a fine-tuned image encoder (also NegCLIP) under another name and
    without a record, and OpenAI's weights that were saved entirely in float16 or bfloat16.

    Args:
        name_or_path: folder or Hub id.
        config: the config of the loaded model.
        model: the loaded model, in float32.
        revision: branch, tag or commit on the Hub.
    """
    activations = {part: getattr(config, part).hidden_act for part in ("text_config", "vision_config")}
    wrong = {part: activation for part, activation in activations.items() if activation != "quick_gelu"}
    if not wrong:
        return None
    reason = _recorded_reason(str(name_or_path), revision)
    if reason is None and model is not None and "vision_config" in wrong and has_openai_vision_weights(model):
        reason = "some weights of its image encoder are rounded to float16 and others are not, as OpenAI released them"
    if reason is None:
        return None
    settings = " and ".join(f"{activation!r} in {part}" for part, activation in wrong.items())
    return (
        f"{name_or_path}: hidden_act is {settings} of its config.json, but its weights are OpenAI's or fine-tuned "
        f"from them ({reason}). These were trained with QuickGELU and score lower without it: set hidden_act to "
        f'"quick_gelu" in {" and ".join(wrong)}.'
    )


def has_openai_vision_weights(model: CLIPModel) -> bool:
    """
    Return whether the weights of the image encoder have the mixed precision in which OpenAI released them.

    OpenAI's code rounds the weights of convolutions and linear layers to float16 and leaves layer norms and embeddings
    in float32 (openai/CLIP `clip/model.py`, `convert_weights`, which every `clip.load` runs; open_clip
    `convert_weights_to_fp16`). After a conversion to float32, or CoN-CLIP's training with a frozen image encoder, the
    rounded weights are still float16 numbers. A model trained in float32 has practically no such layer; a model saved
    entirely in float16 or bfloat16 has rounded layer norms too; and weights that even fit into bfloat16 do not count.
    A single update of the weights removes the pattern.
    """
    rounded, precise = [], []
    for module in torch.nn.ModuleList([model.vision_model, model.visual_projection]).modules():
        is_rounded = isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
        (rounded if is_rounded else precise).extend(module.parameters(recurse=False))
    return (
        all(_survives(weight, torch.float16) for weight in rounded)
        and not all(_survives(weight, torch.bfloat16) for weight in rounded)
        and not all(_survives(weight, torch.float16) for weight in precise)
    )


def _survives(weight: torch.Tensor, dtype: torch.dtype) -> bool:
    return torch.equal(weight, weight.to(dtype).to(weight.dtype))


def _recorded_reason(name_or_path: str, revision: str | None) -> str | None:
    if OPENAI.search(name_or_path):
        return "by its name"
    recorded = _recorded_bases(name_or_path, revision)
    for where, base in recorded:
        if OPENAI.search(base):
            return f"{where} names {base}"
    names = [name_or_path, *(base for _, base in recorded)]
    if NEGCLIP.search(name_or_path) and not any(LAION.search(name) for name in names):
        return "by its name, NegCLIP"
    return None


def _recorded_bases(name_or_path: str, revision: str | None) -> list[tuple[str, str]]:
    """Return (place of the record, name) of each recorded model that this one was made from."""
    found = []
    for file, key in (("README.md", "base_model"), ("config.json", "_name_or_path"), ("results.json", "base_model")):
        values = _recorded_values(name_or_path, file, revision).get(key)
        values = values if isinstance(values, list) else [values]
        found += [(f"{key} in {file}", value) for value in values if isinstance(value, str)]
    return found


def _recorded_values(name_or_path: str, file: str, revision: str | None) -> dict:
    """Return a JSON file or the metadata of a Markdown file, local or on the Hub; {} if there is none."""
    folder = Path(name_or_path).expanduser()
    try:
        path = folder / file if folder.is_dir() else Path(hf_hub_download(name_or_path, file, revision=revision))
        values = metadata_load(path) if file.endswith(".md") else json.loads(path.read_text(encoding="utf-8"))
    # No such file, no network, not a Hub id, or damaged content: the origin of the model stays unknown.
    except (OSError, ValueError, RecursionError, YAMLError):
        values = None
    return values if isinstance(values, dict) else {}
