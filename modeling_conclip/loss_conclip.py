"""
The loss of CoN-CLIP (Singh et al., arXiv 2403.20312) as pure functions of embeddings and scale.

Notation, for a batch of N: images I, true captions c, negated captions c', distractor images I', all L2-normalised
and of shape (N, d); s = exp(logit_scale). The target of row i is column i.

    L1 = CE(s · I  @ [c ; c']ᵀ)     image   -> captions, negated captions are extra negatives
    L2 = CE(s · c  @ [I ; I']ᵀ)     caption -> images, distractors are extra negatives
    L3 = CE(s · I' @ [c'; c ]ᵀ)     distractor image -> its negated caption
    L_conclip = (w1 L1 + w2 L2 + w3 L3) / (w1 + w2 + w3), in the paper with equal weights

Without distractors L2 has the columns I alone and L3 does not exist: NegCLIP's two-term loss. Without negated
captions either L1 has the columns c alone: CLIP's loss.
"""

from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

# Of a batch of thousands the logits would take more memory than the towers; 16 MB in float32.
LOGITS_AT_A_TIME = 2**22


def l2_normalize(embeds: Tensor) -> Tensor:
    """Unit rows, (N, d) -> (N, d), in float32 or wider. CLIP's own formula, so that logits agree to the bit."""
    embeds = embeds.to(torch.promote_types(embeds.dtype, torch.float32))
    return embeds / embeds.pow(2).sum(dim=-1, keepdim=True).pow(0.5)


def similarity(queries: Tensor, keys: Tensor, scale: Tensor) -> Tensor:
    """
    Scaled cosines of unit rows, (N, d) and (M, d) -> (N, M), in the dtype of the rows also under autocast: bf16 and
    fp16 have too few digits for a softmax over hundreds of near-equal cosines.
    """
    with nullcontext() if queries.is_meta else torch.autocast(queries.device.type, enabled=False):
        return queries @ keys.T * scale


def contrastive_loss(queries: Tensor, keys: Tensor, scale: Tensor) -> Tensor:
    """
    Mean cross-entropy of each query against all keys, the key of the same index being the right one.

    Args:
        queries: (N, d), unit rows.
        keys: (M, d) with M >= N, unit rows; rows N and up are extra negatives.
        scale: scalar, exp(logit_scale).

    Returns:
        Scalar. With all embeddings equal it is log(M).
    """
    targets = torch.arange(len(queries), device=queries.device)
    rows = max(1, LOGITS_AT_A_TIME // len(keys))
    if len(queries) <= rows:
        return F.cross_entropy(similarity(queries, keys, scale), targets)
    # Computed again for the gradient, a few rows of logits at a time.
    sums = [
        checkpoint(_summed_cross_entropy, *part, keys, scale, use_reentrant=False)
        for part in zip(queries.split(rows), targets.split(rows), strict=True)
    ]
    return sum(sums) / len(queries)


def _summed_cross_entropy(queries: Tensor, targets: Tensor, keys: Tensor, scale: Tensor) -> Tensor:
    return F.cross_entropy(similarity(queries, keys, scale), targets, reduction="sum")


def conclip_terms(
    image_embeds: Tensor,
    text_embeds: Tensor,
    scale: Tensor,
    negated_text_embeds: Tensor | None = None,
    distractor_image_embeds: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """
    L1, L2 and L3 of the module's docstring, unweighted.

    Args:
        image_embeds, text_embeds: (N, d), unit rows.
        scale: scalar, exp(logit_scale).
        negated_text_embeds: (N, d), unit rows, or `None` for CLIP's loss.
        distractor_image_embeds: (N, d), unit rows, or `None` for NegCLIP's loss.

    Returns:
        Three scalars; the third is `None` without distractors.
    """
    captions = text_embeds if negated_text_embeds is None else torch.cat([text_embeds, negated_text_embeds])
    l1 = contrastive_loss(image_embeds, captions, scale)
    if distractor_image_embeds is None:
        return l1, contrastive_loss(text_embeds, image_embeds, scale), None
    l2 = contrastive_loss(text_embeds, torch.cat([image_embeds, distractor_image_embeds]), scale)
    l3 = contrastive_loss(distractor_image_embeds, torch.cat([negated_text_embeds, text_embeds]), scale)
    return l1, l2, l3


def weighted_mean(terms: tuple[Tensor | None, ...], weights: tuple[float, ...]) -> Tensor:
    """
    Weighted mean over the terms that exist and count; a term of weight 0 gets no gradient.

    Raises:
        ValueError: no existing term has a weight above 0.
    """
    counted = [(term, weight) for term, weight in zip(terms, weights, strict=True) if term is not None and weight > 0]
    if not counted:
        raise ValueError(
            "The only loss terms with a weight above 0 need distractor images: pass them or weigh L1, L2."
        )
    return sum(term * weight for term, weight in counted) / sum(weight for _, weight in counted)


class _GatherRows(torch.autograd.Function):
    """All ranks' rows, in rank order. `torch.distributed.all_gather` alone would carry no gradient."""

    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        world_size = torch.distributed.get_world_size()
        gathered = rows.new_empty((world_size * len(rows), *rows.shape[1:]))
        torch.distributed.all_gather_into_tensor(gathered, rows.contiguous())
        ctx.own = slice(torch.distributed.get_rank() * len(rows), (torch.distributed.get_rank() + 1) * len(rows))
        return gathered

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        torch.distributed.all_reduce(gradient)
        return gradient[ctx.own]


def gather_across_processes(*embeds: Tensor | None) -> tuple[Tensor | None, ...]:
    """
    The rows of all ranks for each tensor, with gradient; the tensors themselves in a single process.

    Every rank then computes the whole loss. The gradient of a rank's own rows is the sum over ranks, and the mean
    that DistributedDataParallel takes over ranks makes it the gradient of one process with the joint batch.

    Args:
        embeds: tensors of shape (N, d), N and dtype equal on every rank and for every tensor; `None` stays `None`.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return embeds
    if torch.distributed.get_world_size() == 1:
        return embeds
    present = [rows for rows in embeds if rows is not None]
    # One collective for all of them: (N, k, d) -> (world_size * N, k, d).
    gathered = iter(_GatherRows.apply(torch.stack(present, dim=1)).unbind(dim=1))
    return tuple(None if rows is None else next(gathered) for rows in embeds)
