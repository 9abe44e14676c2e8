"""
CLIP's weights under the names of OpenAI's code, which open_clip, CoN-CLIP and NegCLIP share, and of transformers.

The names: `clip/model.py` of github.com/openai/CLIP; `CLIPModel` of transformers.
"""

import io
import re
import warnings

import torch
from torch import nn
from transformers import CLIPConfig

from conclip.errors import UsageError

# In files of TorchScript: sizes and the causal mask, no weights.
NO_WEIGHTS = re.compile(
    r"input_resolution|context_length|vocab_size|((visual\.)?transformer\.resblocks\.\d+\.)?attn_mask"
)
BLOCK = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.")
# OpenAI's code: each head is 64 wide. Larger image encoders than ViT-L are open_clip's, most with wider heads.
HEAD_WIDTH, LARGEST_WIDTH = 64, 1024
QUICK_GELU, GELU = "quick_gelu", "gelu"


def names_in_transformers(vision_layers: int, text_layers: int) -> dict[str, tuple[list[str], bool]]:
    """Return name -> (its parts in transformers, whether they are transposed); three parts lie one above another."""
    names = {
        "logit_scale": (["logit_scale"], False),
        "text_projection": (["text_projection.weight"], True),
        "visual.proj": (["visual_projection.weight"], True),
        "visual.class_embedding": (["vision_model.embeddings.class_embedding"], False),
        "visual.conv1.weight": (["vision_model.embeddings.patch_embedding.weight"], False),
        "visual.positional_embedding": (["vision_model.embeddings.position_embedding.weight"], False),
        "token_embedding.weight": (["text_model.embeddings.token_embedding.weight"], False),
        "positional_embedding": (["text_model.embeddings.position_embedding.weight"], False),
    }
    modules = {
        "visual.ln_pre": ["vision_model.pre_layrnorm"],
        "visual.ln_post": ["vision_model.post_layernorm"],
        "ln_final": ["text_model.final_layer_norm"],
    }
    for prefix, model, layers in (("visual.", "vision_model", vision_layers), ("", "text_model", text_layers)):
        for layer in range(layers):
            ours, theirs = f"{prefix}transformer.resblocks.{layer}", f"{model}.encoder.layers.{layer}"
            for kind in ("weight", "bias"):
                parts = [f"{theirs}.self_attn.{part}_proj.{kind}" for part in "qkv"]
                names[f"{ours}.attn.in_proj_{kind}"] = (parts, False)
            modules |= {
                f"{ours}.attn.out_proj": [f"{theirs}.self_attn.out_proj"],
                f"{ours}.ln_1": [f"{theirs}.layer_norm1"],
                f"{ours}.ln_2": [f"{theirs}.layer_norm2"],
                f"{ours}.mlp.c_fc": [f"{theirs}.mlp.fc1"],
                f"{ours}.mlp.c_proj": [f"{theirs}.mlp.fc2"],
            }
    for ours, theirs in modules.items():
        for kind in ("weight", "bias"):
            names[f"{ours}.{kind}"] = ([f"{module}.{kind}" for module in theirs], False)
    return names


def checked_weights(weights: dict[str, torch.Tensor], subject: str) -> dict[str, torch.Tensor]:
    """
    Return the weights of a CLIP with a vision transformer, without the other tensors of TorchScript files.

    Args:
        weights: under the names of OpenAI's code.

    Raises:
        UsageError: a weight is missing or unknown; the message begins with `subject`.
    """
    weights = {name: weight for name, weight in weights.items() if not NO_WEIGHTS.fullmatch(name)}
    expected = names_in_transformers(*(max(1, layers) for layers in _layers(weights)))
    for what, names in (("unknown", weights.keys() - expected), ("missing", expected.keys() - weights)):
        if names:
            others = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
            raise UsageError(
                f"{subject} is no CLIP with a vision transformer in OpenAI's layout: {what} weight "
                f"{min(names)}{others}."
            )
    return weights


def to_transformers(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return float32 weights under the names of transformers, from those that `checked_weights` returned."""
    renamed = {}
    for name, (parts, transposed) in names_in_transformers(*_layers(weights)).items():
        weight = weights[name].float()
        for part, piece in zip(parts, weight.chunk(len(parts)) if len(parts) > 1 else [weight], strict=True):
            renamed[part] = (piece.T if transposed else piece).contiguous()
    return renamed | {"logit_scale": renamed["logit_scale"].reshape(())}


def from_transformers(weights: dict[str, torch.Tensor], config: CLIPConfig) -> dict[str, torch.Tensor]:
    """Return the weights of a CLIP model under the names of OpenAI's code."""
    layers = config.vision_config.num_hidden_layers, config.text_config.num_hidden_layers
    renamed = {}
    for name, (parts, transposed) in names_in_transformers(*layers).items():
        weight = torch.cat([weights[part] for part in parts]) if len(parts) > 1 else weights[parts[0]]
        # Copied, so that no two weights share memory, which safetensors refuses.
        renamed[name] = (weight.T if transposed else weight).detach().clone().contiguous()
    return renamed


def encoder_sizes(weights: dict[str, torch.Tensor], model_cfg: dict, subject: str) -> tuple[dict, dict, int]:
    """
    Return fields of `CLIPTextConfig` and `CLIPVisionConfig`, and the width of the embeddings, from the weights.

    Args:
        weights: as `checked_weights` returned them.
        model_cfg: that of open_clip_config.json, for the number of heads, which weights do not show; or {}.

    Raises:
        UsageError: sizes do not fit, or the number of heads is unknown; the message begins with `subject`.
    """
    for name, dimensions in (
        ("visual.conv1.weight", 4),
        ("visual.positional_embedding", 2),
        ("token_embedding.weight", 2),
        ("positional_embedding", 2),
        ("text_projection", 2),
    ):
        if weights[name].ndim != dimensions:
            raise UsageError(
                f"{subject}: {name} has shape {tuple(weights[name].shape)}, where a CLIP has {dimensions} dimensions; "
                "download it again."
            )
    width, _, patch, _ = weights["visual.conv1.weight"].shape
    side = round((len(weights["visual.positional_embedding"]) - 1) ** 0.5)
    vocabulary, text_width = weights["token_embedding.weight"].shape
    vision_cfg, text_cfg = model_cfg.get("vision_cfg", {}), model_cfg.get("text_cfg", {})
    if not model_cfg and width > LARGEST_WIDTH:
        raise UsageError(
            f"{subject}: the weights of an image encoder of width {width} do not say how many attention heads it has: "
            "put open_clip_config.json beside the file."
        )
    heads = {
        "visual": width / vision_cfg.get("head_width", HEAD_WIDTH),
        "text": text_cfg.get("heads", text_width / HEAD_WIDTH),
    }
    for part, own in (("visual", width), ("text", text_width)):
        if heads[part] < 1 or heads[part] % 1 or own % heads[part]:
            raise UsageError(f"{subject}: a {part} encoder of width {own} cannot have {heads[part]:g} heads.")
    vision_layers, text_layers = _layers(weights)
    vision = {
        "hidden_size": width,
        "intermediate_size": len(weights["visual.transformer.resblocks.0.mlp.c_fc.bias"]),
        "num_hidden_layers": vision_layers,
        "num_attention_heads": int(heads["visual"]),
        "patch_size": patch,
        "image_size": patch * side,
    }
    text = {
        "hidden_size": text_width,
        "intermediate_size": len(weights["transformer.resblocks.0.mlp.c_fc.bias"]),
        "num_hidden_layers": text_layers,
        "num_attention_heads": int(heads["text"]),
        "vocab_size": vocabulary,
        "max_position_embeddings": len(weights["positional_embedding"]),
    }
    return text, vision, weights["text_projection"].shape[1]


def require_exportable(config: CLIPConfig, to: str, subject: str) -> None:
    """
    Check that a model is one that OpenAI's code, or open_clip, can compute.

    Args:
        to: "openai" or "open_clip".

    Raises:
        UsageError: it is not; the message begins with `subject` and names the field of config.json.
    """
    text, vision = config.text_config, config.vision_config
    activations = {QUICK_GELU} if to == "openai" else {QUICK_GELU, GELU}
    for name, encoder in (("text_config", text), ("vision_config", vision)):
        if encoder.hidden_act not in activations or encoder.hidden_act != text.hidden_act:
            raise UsageError(f"{subject}: {to} cannot compute `hidden_act` {encoder.hidden_act} of `{name}`.")
        if encoder.layer_norm_eps != 1e-5:
            raise UsageError(f"{subject}: {to} cannot compute `layer_norm_eps` {encoder.layer_norm_eps} of `{name}`.")
        heads, width = encoder.num_attention_heads, encoder.hidden_size
        if to == "openai" and heads * HEAD_WIDTH != width:
            raise UsageError(
                f"{subject}: openai needs attention heads of width {HEAD_WIDTH}, and those of `{name}` are "
                f"{width // heads} wide: use --to open_clip."
            )
        if to == "openai" and encoder.intermediate_size != 4 * width:
            raise UsageError(f"{subject}: openai needs `intermediate_size` {4 * width} in `{name}`.")
    # 2 stands in the configs of old checkpoints; such a model takes the token with the largest id.
    if text.eos_token_id not in (2, text.vocab_size - 1):
        raise UsageError(
            f"{subject}: {to} ends a text with the token of the largest id, {text.vocab_size - 1}, but this model "
            f"ends it with token {text.eos_token_id}."
        )


def open_clip_model_cfg(config: CLIPConfig) -> dict:
    """Return `model_cfg` of open_clip_config.json for a model that passed `require_exportable`."""
    text, vision = config.text_config, config.vision_config
    return {
        "embed_dim": config.projection_dim,
        "quick_gelu": text.hidden_act == QUICK_GELU,
        "vision_cfg": {
            "image_size": vision.image_size,
            "layers": vision.num_hidden_layers,
            "width": vision.hidden_size,
            "head_width": vision.hidden_size // vision.num_attention_heads,
            "mlp_ratio": vision.intermediate_size / vision.hidden_size,
            "patch_size": vision.patch_size,
        },
        "text_cfg": {
            "context_length": text.max_position_embeddings,
            "vocab_size": text.vocab_size,
            "width": text.hidden_size,
            "heads": text.num_attention_heads,
            "layers": text.num_hidden_layers,
            "mlp_ratio": text.intermediate_size / text.hidden_size,
        },
    }


def torchscript_archive(weights: dict[str, torch.Tensor]) -> bytes:
    """
    Return weights as the content of a TorchScript archive without code, from which `clip.load` builds its model.

    `clip.load` cannot read a state dict: it does not rewind the file after trying TorchScript
    (https://github.com/openai/CLIP/blob/main/clip/clip.py). With `jit=True` it wants code, which is not there.
    """
    root = nn.Module()
    for name, weight in weights.items():
        *path, last = name.split(".")
        module = root
        for part in path:
            if not hasattr(module, part):
                module.add_module(part, nn.Module())
            module = getattr(module, part)
        module.register_parameter(last, nn.Parameter(weight, requires_grad=False))
    content = io.BytesIO()
    with warnings.catch_warnings():
        # That torch.export has replaced TorchScript, which `clip.load` does not know.
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(root), content)
    return content.getvalue()


def _layers(weights: dict[str, torch.Tensor]) -> tuple[int, int]:
    """Return the numbers of layers of the image and the text encoder."""
    found = {"visual.": set(), None: set()}
    for name in weights:
        if match := BLOCK.match(name):
            found[match[1]].add(match[2])
    return len(found["visual."]), len(found[None])
