"""
The losses as pure functions of embeddings and scale: that of CoN-CLIP (Singh et al., arXiv 2403.20312), and negation
distillation, which is this project's own.

CoN-CLIP

In plain terms: an image must be closer to its caption than to all other captions and negated captions, a caption must
be closer to its image than to all other images and distractors, and a distractor must be closest to its negated
caption. A distractor is an image that looks like the original and of which the negated caption is true.

For a batch of N rows: images I, true captions c, negated captions c', distractor images I', all L2-normalised and of
shape (N, d); s = exp(logit_scale); CE is the mean cross-entropy with column i as the target of row i.

    L1 = CE(s · I  @ [c ; c']ᵀ)     loss_image_to_text:  image -> caption; negated captions are extra negatives
    L2 = CE(s · c  @ [I ; I']ᵀ)     loss_text_to_image:  caption -> image; distractors are extra negatives
    L3 = CE(s · I' @ [c'; c ]ᵀ)     loss_distractor:     distractor -> its negated caption
    loss = (w1 L1 + w2 L2 + w3 L3) / (w1 + w2 + w3), in the paper with equal weights

Without distractors, L2 has the columns I only and there is no L3: this is the two-term loss of NegCLIP. If there are
no negated captions either, L1 has the columns c only: this is the loss of CLIP.

Negation distillation

The arithmetic of negation is put into the text encoder by regression, from texts alone. For M texts with embeddings e,
each with a target g (the base model's embedding of an affirmative text, or for a negation query arithmetic on such
embeddings), all L2-normalised and of shape (M, d); C = mean of v vᵀ over many unit embeddings v of images or captions:

    L4 = mean of 1 - e·g                    loss_cosine
    L5 = mean of s² (e - g)ᵀ C (e - g)      loss_profile: mean square of s · e·v - s · g·v, the profile of scores
    loss = w (w4 L4 + w5 L5 + w6 L6), added to the loss above if the batch has images too

If it is known how likely a text is true of each of K images with embeddings v (t, from 0 to 1), it learns from these
images and has no target. With z = s e·v, and with means over the images that are weighted by t and by 1 - t:

    L6 = mean over such texts of (mean of log(1 + exp(-z)) where true + mean of log(1 + exp(z)) where false) / 2

True and false images have the same weight in all, also if the text is true of few images. L4 and L5 are means over the
other texts.

With the cosine alone, a text such as "no dog" ends near a photo of anything. The profile of scores, over the images or
captions that the text will be compared with, keeps it away from dogs.
"""

from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

# The logits of a batch of thousands would take more memory than the encoders. This many take 16 MB in float32.
LOGITS_AT_A_TIME = 2**22


def l2_normalize(embeds: Tensor) -> Tensor:
    """Scale rows to length 1, (N, d) -> (N, d), in float32 or wider. By CLIP's formula: logits agree to the bit."""
    embeds = embeds.to(torch.promote_types(embeds.dtype, torch.float32))
    return embeds / embeds.pow(2).sum(dim=-1, keepdim=True).pow(0.5)


def similarity(queries: Tensor, keys: Tensor, scale: Tensor) -> Tensor:
    """
    Return the scaled cosines of unit rows, (N, d) and (M, d) -> (N, M), in the dtype of the rows also under autocast:
    bf16 and fp16 have too few digits for a softmax over hundreds of nearly equal cosines.
    """
    with nullcontext() if queries.is_meta else torch.autocast(queries.device.type, enabled=False):
        return queries @ keys.T * scale


def contrastive_loss(queries: Tensor, keys: Tensor, scale: Tensor, first: int = 0) -> Tensor:
    """
    Return the mean cross-entropy of each query against all keys, where key `first + i` is the right one of query i.

    Args:
        queries: (N, d), unit rows.
        keys: (M, d) with M >= first + N, unit rows; the keys of no query are extra negatives.
        scale: scalar, exp(logit_scale).
        first: the key of the first query, if the keys are those of several processes.

    Returns:
        Scalar. It is log(M) if all embeddings are equal.
    """
    targets = torch.arange(first, first + len(queries), device=queries.device)
    rows = max(1, LOGITS_AT_A_TIME // len(keys))
    if len(queries) <= rows:
        return F.cross_entropy(similarity(queries, keys, scale), targets)
    # A few rows of logits at a time, recomputed in the backward pass.
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
    across_processes: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """
    Return L1, L2 and L3 of this module's docstring, unweighted.

    Args:
        image_embeds, text_embeds: (N, d), unit rows.
        scale: scalar, exp(logit_scale).
        negated_text_embeds: (N, d), unit rows, or `None` for CLIP's loss.
        distractor_image_embeds: (N, d), unit rows, or `None` for NegCLIP's loss.
        across_processes: compare the rows with those of all ranks, (W N, d), of equal N and dtype on every rank. Each
            rank computes the N rows of logits that are its own, which takes a W-th of the memory and time of all.

    Returns:
        Three scalars; the third is `None` if there are no distractors. Across processes every rank gets the terms of
        the joint batch. Their gradient is that of its own rows, see `mean_over_processes`.
    """
    own = image_embeds, text_embeds, negated_text_embeds, distractor_image_embeds
    joint, first = gather_across_processes(*own) if across_processes else (own, 0)
    images, captions, negated, distractors = joint
    l1 = contrastive_loss(image_embeds, captions if negated is None else torch.cat([captions, negated]), scale, first)
    if distractors is None:
        l2, l3 = contrastive_loss(text_embeds, images, scale, first), None
    else:
        l2 = contrastive_loss(text_embeds, torch.cat([images, distractors]), scale, first)
        l3 = contrastive_loss(distractor_image_embeds, torch.cat([negated, captions]), scale, first)
    return mean_over_processes(l1, l2, l3) if across_processes else (l1, l2, l3)


def weighted_mean(terms: tuple[Tensor | None, ...], weights: tuple[float, ...]) -> Tensor:
    """
    Return the weighted mean of the terms that exist. A term of weight 0 gets no gradient.

    Raises:
        ValueError: no existing term has a weight above 0.
    """
    counted = [(term, weight) for term, weight in zip(terms, weights, strict=True) if term is not None and weight > 0]
    if not counted:
        raise ValueError(
            "The only loss term with a weight above 0 needs distractor images: pass them, or set image_to_text_weight "
            "or text_to_image_weight above 0."
        )
    return sum(term * weight for term, weight in counted) / sum(weight for _, weight in counted)


def distillation_terms(embeds: Tensor, targets: Tensor, second_moment: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """
    Return L4 and L5 of this module's docstring, unweighted.

    Args:
        embeds: (M, d), unit rows.
        targets: (M, d), unit rows, without gradient.
        second_moment: (d, d), the matrix C.
        scale: scalar, exp(logit_scale); L5 gives it no gradient.

    Returns:
        Two scalars; both are 0 if the embeddings are the targets, and without texts.
    """
    with nullcontext() if embeds.is_meta else torch.autocast(embeds.device.type, enabled=False):
        difference = embeds - targets
        texts = max(len(embeds), 1)
        profile = ((difference @ second_moment) * difference).sum() / texts
        # Half the squared distance of unit vectors: exact also where they are nearly equal.
        return difference.pow(2).sum() / (2 * texts), scale.detach() ** 2 * profile


def truth_loss(embeds: Tensor, image_embeds: Tensor, truth: Tensor, scale: Tensor) -> Tensor:
    """
    Return L6 of this module's docstring, unweighted.

    Args:
        embeds: (M, d), unit rows.
        image_embeds: (K, d), unit rows.
        truth: (M, K), 0 to 1.
        scale: scalar, exp(logit_scale).

    Returns:
        Scalar; 0 without texts, log 2 if all scores are 0.
    """
    logits = similarity(embeds, image_embeds, scale)
    # A text that is true, or false, of hardly any image counts as if it were of one.
    true = (F.softplus(-logits) * truth).sum(dim=1) / truth.sum(dim=1).clamp(min=1)
    false = (F.softplus(logits) * (1 - truth)).sum(dim=1) / (1 - truth).sum(dim=1).clamp(min=1)
    return (true + false).sum() / (2 * max(len(embeds), 1))


class _GatherRows(torch.autograd.Function):
    """Gather the rows of all ranks, in rank order, with gradient, which `torch.distributed.all_gather` lacks."""

    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        world_size = torch.distributed.get_world_size()
        gathered = rows.new_empty((world_size * len(rows), *rows.shape[1:]))
        # torch 2.13 renamed this function: the old name gives a warning.
        new = getattr(torch.distributed, "all_gather_single", None)
        (new or torch.distributed.all_gather_into_tensor)(gathered, rows.contiguous())
        ctx.own = slice(torch.distributed.get_rank() * len(rows), (torch.distributed.get_rank() + 1) * len(rows))
        return gathered

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        torch.distributed.all_reduce(gradient)
        return gradient[ctx.own]


def _number_of_processes() -> int:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 1
    return torch.distributed.get_world_size()


def gather_across_processes(*embeds: Tensor | None) -> tuple[tuple[Tensor | None, ...], int]:
    """
    Gather the rows of all ranks for each tensor, with gradient. A single process gets its own tensors back.

    The gradient of a rank's own rows is summed over ranks.

    Args:
        embeds: tensors of shape (N, d), of equal N and dtype on every rank and for every tensor; `None` stays `None`.

    Returns:
        The tensors, of shape (W N, d), and the number of the first row that is this rank's.
    """
    if _number_of_processes() == 1:
        return embeds, 0
    present = [rows for rows in embeds if rows is not None]
    # One collective for all of them: (N, k, d) -> (world_size * N, k, d).
    gathered = iter(_GatherRows.apply(torch.stack(present, dim=1)).unbind(dim=1))
    joint = tuple(None if rows is None else next(gathered) for rows in embeds)
    return joint, torch.distributed.get_rank() * len(present[0])


class _MeanOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total / torch.distributed.get_world_size()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient


def mean_over_processes(*values: Tensor | None) -> tuple[Tensor | None, ...]:
    """
    Return the mean of each scalar over all ranks, with the gradient of this rank's own value.

    DistributedDataParallel and its like average the gradients of all ranks. Together this is the gradient of the mean.
    A single process gets its own values back, and `None` stays `None`.
    """
    if _number_of_processes() == 1:
        return values
    present = [value for value in values if value is not None]
    means = iter(_MeanOverRanks.apply(torch.stack(present)).unbind())
    return tuple(None if value is None else next(means) for value in values)


def mean_over_texts_of_all_processes(texts: int, *means: Tensor) -> tuple[Tensor, ...]:
    """
    Return the means over the texts of all ranks, from the means over `texts` of this rank's, with their gradient.

    Ranks may have different numbers of texts. A single process gets its own values back.
    """
    processes = _number_of_processes()
    if processes == 1:
        return means
    count = means[0].new_tensor(float(texts))
    torch.distributed.all_reduce(count)
    return mean_over_processes(*(mean * (texts * processes / count.clamp(min=1)) for mean in means))
