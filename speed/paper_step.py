"""
The reference: a training step of CoN-CLIP as in its paper and code, on stock CLIP.

The pixels of image and distractor pass through the frozen image encoder in every step, and every text is padded to 77
tokens. The loss follows equations 1 to 4 of arXiv 2403.20312.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPModel


def paper_loss(
    model: CLIPModel, pixels: Tensor, distractor_pixels: Tensor, captions: Tensor, negated_captions: Tensor
) -> Tensor:
    """
    Compute the loss of CoN-CLIP with equal weights, a scalar.

    Args:
        pixels, distractor_pixels: float32, (N, 3, 224, 224).
        captions, negated_captions: int64, (N, 77), padded with the end-of-text token.
    """
    with torch.no_grad():
        images, distractors = (
            F.normalize(model.get_image_features(pixel_values=some).pooler_output, dim=1)
            for some in (pixels, distractor_pixels)
        )
    texts, negated = (
        F.normalize(model.get_text_features(input_ids=some).pooler_output, dim=1)
        for some in (captions, negated_captions)
    )
    scale = model.logit_scale.exp()
    right = torch.arange(len(texts), device=texts.device)
    l1 = F.cross_entropy(scale * images @ torch.cat([texts, negated]).T, right)
    l2 = F.cross_entropy(scale * texts @ torch.cat([images, distractors]).T, right)
    l3 = F.cross_entropy(scale * distractors @ torch.cat([negated, texts]).T, right)
    return (l1 + l2 + l3) / 3


def paper_step(model: CLIPModel, optimizer: torch.optim.Optimizer, *inputs: Tensor) -> Tensor:
    """Update the weights once, with the inputs of `paper_loss`, and return the loss before the update."""
    optimizer.zero_grad()
    loss = paper_loss(model, *inputs)
    loss.backward()
    optimizer.step()
    return loss.detach()
