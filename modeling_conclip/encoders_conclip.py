"""
CLIP's text and image encoders with less work and the same results, computed with the modules of transformers.

The text encoder runs over packed texts, in which a beginning that several texts share appears once. Both encoders skip
those outputs of the last layer that are not pooled.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


def attention_bias(subtree_end: Tensor, ancestors: Tensor, dtype: torch.dtype) -> Tensor:
    """
    Return the attention mask of packed texts: each node attends to its ancestors and itself.

    Args:
        subtree_end: int64, (T,).
        ancestors: int64, (blocks, A), padded with -1.

    Returns:
        (blocks, 1, T / blocks, A + T / blocks), 0 where a node attends to a key, else -inf. The keys are the ancestors
        of the block, then its own nodes.
    """
    nodes = torch.arange(len(subtree_end), device=subtree_end.device).view(len(ancestors), -1)  # (blocks, block)
    keys = torch.cat([ancestors, nodes], dim=1)[:, None]  # (blocks, 1, keys)
    queries = nodes[:, :, None]
    seen = (keys <= queries) & (queries < subtree_end[keys.clamp(min=0)]) & (keys >= 0)
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -torch.inf)[:, None]


def packed_attention(attention: nn.Module, hidden: Tensor, ancestors: Tensor, bias: Tensor) -> Tensor:
    """
    Compute `CLIPAttention` over packed texts, without its output projection.

    Args:
        hidden: (T, width).
        ancestors: int64, (blocks, A).
        bias: from `attention_bias`.

    Returns:
        (T, width).
    """
    blocks, heads = len(ancestors), attention.num_heads
    outside = ancestors.clamp(min=0).flatten()

    def by_head(projected: Tensor) -> Tensor:  # (blocks, n, width) -> (blocks, heads, n, width / heads)
        return projected.unflatten(-1, (heads, -1)).transpose(1, 2)

    def keys(projected: Tensor) -> Tensor:  # (T, width) -> (blocks, heads, A + T / blocks, width / heads)
        # The gradient of index_select is one kernel; that of indexing with a tensor sorts first.
        parts = (projected.index_select(0, outside), projected)
        return by_head(torch.cat([part.unflatten(0, (blocks, -1)) for part in parts], dim=1))

    attended = F.scaled_dot_product_attention(
        by_head(attention.q_proj(hidden).unflatten(0, (blocks, -1))),
        keys(attention.k_proj(hidden)),
        keys(attention.v_proj(hidden)),
        attn_mask=bias,
        dropout_p=attention.dropout if attention.training else 0.0,
        scale=attention.scale,
    )
    return attended.transpose(1, 2).flatten(2).flatten(0, 1)


def packed_layer(
    layer: nn.Module, hidden: Tensor, ancestors: Tensor, bias: Tensor, wanted: Tensor | None = None
) -> Tensor:
    """
    Compute `CLIPEncoderLayer` over packed texts.

    Args:
        wanted: int64, (n,). The nodes whose output is wanted, all by default.

    Returns:
        (T, width), or (n, width).
    """
    attended = packed_attention(layer.self_attn, layer.layer_norm1(hidden), ancestors, bias)
    if wanted is not None:
        attended, hidden = attended.index_select(0, wanted), hidden.index_select(0, wanted)
    hidden = hidden + layer.self_attn.out_proj(attended)
    return hidden + layer.mlp(layer.layer_norm2(hidden))


def pool_packed(text_model: nn.Module, packed: dict[str, Tensor], layer_function=packed_layer) -> Tensor:
    """
    Return what `CLIPTextModel` pools from each text, computed with its own modules and the adapters on them.

    Args:
        text_model: `CLIPTextModel`.
        packed: one piece from `packing_conclip.pack_texts`.
        layer_function: `packed_layer`, or its compiled form.

    Returns:
        (texts, width), not projected, in the order of `packed["rows"]`.
    """
    embeddings, (*layers, last) = text_model.embeddings, text_model.encoder.layers
    hidden = embeddings.token_embedding(packed["input_ids"]) + embeddings.position_embedding(packed["position_ids"])
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    bias = attention_bias(packed["subtree_end"], packed["ancestors"], dtype)
    for layer in layers:
        hidden = layer_function(layer, hidden, packed["ancestors"], bias)
    # Only the pooled nodes of the last layer are used.
    hidden = packed_layer(last, hidden, packed["ancestors"], bias, wanted=packed["ends"])
    return text_model.final_layer_norm(hidden)


def pool_images(vision_model: nn.Module, pixel_values: Tensor) -> Tensor:
    """
    Return what `CLIPVisionModel` pools, and compute only the class token of the last layer.

    Args:
        vision_model: `CLIPVisionModel`, in eval mode.
        pixel_values: (n, channels, height, width).

    Returns:
        (n, width), not projected.
    """
    *layers, last = vision_model.encoder.layers
    hidden = vision_model.pre_layrnorm(vision_model.embeddings(pixel_values))
    for layer in layers:
        hidden = layer(hidden, None)
    attention, normed = last.self_attn, last.layer_norm1(hidden)

    def by_head(projected: Tensor) -> Tensor:  # (n, patches, width) -> (n, heads, patches, width / heads)
        return projected.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)

    attended = F.scaled_dot_product_attention(
        by_head(attention.q_proj(normed[:, :1])),
        by_head(attention.k_proj(normed)),
        by_head(attention.v_proj(normed)),
        scale=attention.scale,
    )
    pooled = hidden[:, 0] + attention.out_proj(attended.flatten(1))
    return vision_model.post_layernorm(pooled + last.mlp(last.layer_norm2(pooled)))


def piece_by_piece(embed: Callable[..., Tensor], pieces: Sequence) -> list[Tensor]:
    """Apply `embed` to each piece. With several, activations are not stored but recomputed in the backward pass."""
    if len(pieces) == 1 or not torch.is_grad_enabled():
        return [embed(piece) for piece in pieces]
    return [checkpoint(embed, piece, use_reentrant=False) for piece in pieces]
