"""
The QuickGELU trap: OpenAI's CLIPs, and those tuned from them, were trained with QuickGELU, x · sigmoid(1.702 x). A
folder converted from them that says "gelu" loads without a word and scores lower.
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
    A sentence of warning where the config of a tower does not say "quick_gelu", but the weights are OpenAI's or
    tuned from them. They are recognised, in this order,

    - by the model's name: the ids of OpenAI's models on the Hub, and copies in folders of these names;
    - by what is recorded beside the weights of where they came from: `_name_or_path` in config.json (written by
      transformers 4), `base_model` in the head of README.md (the Hub's metadata) and in results.json (of our training
      command);
    - by a name that ends in NegCLIP, unless LAION is named anywhere;
    - by the weights of the image tower (`has_openai_vision_weights`), which also finds a converted CoN-CLIP, whose
      image tower was frozen. This says nothing of a text tower that alone is not "quick_gelu".

    Not recognised, for want of any mark: a model with a tuned image tower (NegCLIP included) under another name and
    with nothing recorded, or OpenAI's weights rounded as a whole to float16 or bfloat16 before they were saved.

    Args:
        name_or_path: folder, or id on the Hub.
        config: as loaded.
        model: in float32, as loaded.
        revision: on the Hub.
    """
    towers = ("text_config", "vision_config")
    acts = {tower: getattr(config, tower).hidden_act for tower in towers}
    wrong = {tower: act for tower, act in acts.items() if act != "quick_gelu"}
    if not wrong:
        return None
    reason = _recorded_reason(str(name_or_path), revision)
    if reason is None and model is not None and "vision_config" in wrong and has_openai_vision_weights(model):
        reason = "the weights of its image tower bear the mark of OpenAI's release: some rounded to float16, not all"
    if reason is None:
        return None
    said = " and ".join(f"{act!r} in {tower}" for tower, act in wrong.items())
    return (
        f"{name_or_path}: hidden_act is {said} of its config.json, but its weights are OpenAI's or tuned from them "
        f"({reason}), which were trained with QuickGELU, and score lower without it: set hidden_act to "
        f'"quick_gelu" in {" and ".join(wrong)}.'
    )


def has_openai_vision_weights(model: CLIPModel) -> bool:
    """
    Whether the image tower's weights have the mixed precision in which OpenAI released them.

    OpenAI's code rounds the weights of convolutions and of linear layers to float16 and leaves layer norms and
    embeddings in float32 (openai/CLIP `clip/model.py`, `convert_weights`, which every `clip.load` runs; open_clip
    `convert_weights_to_fp16`). Widened to float32 by a conversion, or by CoN-CLIP's training with a frozen image
    tower, every one of the former is still a float16 number. A model trained and kept in float32 has practically no
    such layer, one saved in float16 or bfloat16 as a whole has them also in its layer norms, and numbers with the
    short mantissa of bfloat16 are not counted. A single update of the tower's weights removes the mark.
    """
    rounded, kept = [], []
    for module in torch.nn.ModuleList([model.vision_model, model.visual_projection]).modules():
        is_rounded = isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
        (rounded if is_rounded else kept).extend(module.parameters(recurse=False))
    return (
        all(_survives(weight, torch.float16) for weight in rounded)
        and not all(_survives(weight, torch.bfloat16) for weight in rounded)
        and not all(_survives(weight, torch.float16) for weight in kept)
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
    """Where it is recorded, and what: names of the models that this one was made from."""
    found = []
    for file, key in (("README.md", "base_model"), ("config.json", "_name_or_path"), ("results.json", "base_model")):
        values = _recorded_values(name_or_path, file, revision).get(key)
        values = values if isinstance(values, list) else [values]
        found += [(f"{key} in {file}", value) for value in values if isinstance(value, str)]
    return found


def _recorded_values(name_or_path: str, file: str, revision: str | None) -> dict:
    """The content of a JSON file, or the head of a Markdown file, in the folder or on the Hub; {} if there is none."""
    folder = Path(name_or_path).expanduser()
    try:
        path = folder / file if folder.is_dir() else Path(hf_hub_download(name_or_path, file, revision=revision))
        values = metadata_load(path) if file.endswith(".md") else json.loads(path.read_text(encoding="utf-8"))
    # No such file, no network, no id of the Hub, nothing legible: where the model came from stays unknown.
    except (OSError, ValueError, YAMLError):
        values = None
    return values if isinstance(values, dict) else {}
