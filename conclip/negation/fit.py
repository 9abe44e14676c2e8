"""Fit the two parameters of query arithmetic for a model, on images with captions."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch.nn import functional as F

from conclip.errors import UsageError
from conclip.negation.arithmetic import QueryArithmetic
from conclip.negation.query import parse_query
from conclip.negation.questions import NUM_QUESTIONS, QUESTION_KINDS, make_questions

BETAS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5)
ANCHOR_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5)


class Fit(NamedTuple):
    """
    The best parameters, and the accuracy of every choice of them.

    Attributes:
        beta, anchor_weight: see `QueryArithmetic`.
        accuracies: (beta, anchor weight) -> kind of question -> share of right answers; a tie is an error.
        count: questions.
    """

    beta: float
    anchor_weight: float
    accuracies: dict[tuple[float, float], dict[str, float]]
    count: int


def fit_query_arithmetic(
    embed: Callable[[list[str]], torch.Tensor],
    image_embeds: torch.Tensor,
    captions: Sequence[Sequence[str]],
    betas: Sequence[float] = BETAS,
    anchor_weights: Sequence[float] = ANCHOR_WEIGHTS,
    num_questions: int = NUM_QUESTIONS,
    seed: int = 0,
) -> Fit:
    """
    Fit β and the weight of the anchor of `QueryArithmetic`: of a grid the pair with the highest mean accuracy over the
    kinds of multiple-choice questions that `make_questions` makes of the captions.

    Choose images that are not evaluated on. A few hundred do.

    Args:
        embed: takes n texts and returns the model's embeddings, (n, d), normalised or not.
        image_embeds: float, (images, d), the model's embeddings of the images, normalised or not.
        captions: for each image all its captions.
        betas, anchor_weights: the grid; of equal pairs the first is taken.
        num_questions, seed: see `make_questions`.

    Raises:
        UsageError: no question can be made, or the images and captions do not belong together.

    Example:
        >>> fit = fit_query_arithmetic(embed, image_embeds, captions)
        >>> arithmetic = QueryArithmetic(embed, fit.beta, fit.anchor_weight)
    """
    if len(captions) != len(image_embeds):
        raise UsageError(f"There are {len(image_embeds):,} images, but captions of {len(captions):,}.")
    questions = make_questions(captions, num_questions, seed)
    if not questions:
        raise UsageError("The captions name too few things to make questions of: give more images, or other captions.")
    queries = [parse_query(text) for question in questions for text in question.texts]
    images = F.normalize(image_embeds.float(), dim=1)[[question.image for question in questions]]
    arithmetic, accuracies = QueryArithmetic(embed), {}
    for beta in betas:
        for anchor_weight in anchor_weights:
            arithmetic.beta, arithmetic.anchor_weight = beta, anchor_weight
            texts = arithmetic(queries).unflatten(0, (len(questions), -1))
            scores = torch.einsum("qtd,qd->qt", texts, images)
            right = scores[:, 0] > scores[:, 1:].amax(dim=1)
            accuracies[beta, anchor_weight] = {
                kind: right[rows].float().mean().item()
                for kind in QUESTION_KINDS
                if (rows := [row for row, question in enumerate(questions) if question.kind == kind])
            }
    best = max(accuracies, key=lambda pair: sum(accuracies[pair].values()))
    return Fit(*best, accuracies, len(questions))
