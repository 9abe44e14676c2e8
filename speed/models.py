"""The models that are timed: the three sizes of OpenAI's CLIP with random weights, so that nothing is downloaded."""

import torch
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

from modeling_conclip import ConCLIPModel

TEXT = {"hidden_act": "quick_gelu", "num_hidden_layers": 12, "vocab_size": 49408, "max_position_embeddings": 77}
# (text encoder: width, MLP width, heads), (image encoder: width, MLP width, layers, heads, patch size), projection
SIZES = {
    "vit-base-patch32": ((512, 2048, 8), (768, 3072, 12, 12, 32), 512),
    "vit-base-patch16": ((512, 2048, 8), (768, 3072, 12, 12, 16), 512),
    "vit-large-patch14": ((768, 3072, 12), (1024, 4096, 24, 16, 14), 768),
}
START_OF_TEXT, END_OF_TEXT = 49406, 49407


def make_model(size: str | tuple, seed: int = 0) -> CLIPModel:
    """Make a stock CLIP in float32 with random weights, of a size in `SIZES` or of one that is given as there."""
    shape = SIZES[size] if isinstance(size, str) else size
    (width, mlp, heads), (image_width, image_mlp, layers, image_heads, patch), projection = shape
    tokens = {"bos_token_id": START_OF_TEXT, "eos_token_id": END_OF_TEXT, "pad_token_id": END_OF_TEXT}
    text = {**TEXT, **tokens, "hidden_size": width, "intermediate_size": mlp, "num_attention_heads": heads}
    vision = {
        "hidden_act": "quick_gelu",
        "hidden_size": image_width,
        "intermediate_size": image_mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": image_heads,
        "patch_size": patch,
        "image_size": 224,
    }
    torch.manual_seed(seed)
    return CLIPModel(
        CLIPConfig(
            text_config={**text, "projection_dim": projection},
            vision_config={**vision, "projection_dim": projection},
            projection_dim=projection,
        )
    )


def as_conclip(model: CLIPModel) -> ConCLIPModel:
    """Return a ConCLIP with the same weights and a frozen image encoder."""
    conclip = ConCLIPModel(ConCLIPModel.config_class(**model.config.to_dict()))
    conclip.load_state_dict(model.state_dict())
    return conclip


def image_processor() -> CLIPImageProcessorPil:
    """Return the image processor of CLIP, for 224 pixels."""
    return CLIPImageProcessorPil()
