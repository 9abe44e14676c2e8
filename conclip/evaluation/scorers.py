"""Scores of pairs of an image and a text by one model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from conclip.embedding.store import StoredEmbeddings, as_scalars
from conclip.evaluation.items import ItemImages
from conclip.evaluation.probe import ProbeScorer
from conclip.evaluation.query_encoder import QueryEncoder
from conclip.models.blip import BlipMatcher
from conclip.models.cached_encoder import CachedEncoder, encoder_tokens, token_keys

PAIRS_AT_A_TIME = 16_384


@dataclass
class EmbeddingScorer:
    """Score a pair by the cosine of the two embeddings."""

    encoder: CachedEncoder | QueryEncoder

    def pairs(
        self, images: ItemImages, image_at: Sequence[int], texts: list[str], text_at: Sequence[int]
    ) -> np.ndarray:
        """
        Score pairs.

        Args:
            image_at, text_at: (pairs,), indices into `images` and `texts`.

        Returns:
            float64, (pairs,).
        """
        return cosines(self.encoder.images(images), image_at, self.encoder.texts(texts), text_at)


@dataclass
class MatchingScorer:
    """
    Score each pair by a model that reads image and text together; there are no embeddings, so no retrieval.

    Args:
        batch_size: number of images, and of pairs, per batch.
        num_workers: number of processes that decode and preprocess images, per process.
    """

    matcher: BlipMatcher
    accelerator: Accelerator
    batch_size: int
    num_workers: int

    def pairs(
        self, images: ItemImages, image_at: Sequence[int], texts: list[str], text_at: Sequence[int]
    ) -> np.ndarray:
        """Score pairs as `EmbeddingScorer.pairs` does, by the log-odds of a match; each process scores its share."""
        accelerator, count = self.accelerator, len(image_at)
        # Of texts that are equal to the model, only the first is scored.
        _, first, same = np.unique(
            as_scalars(token_keys(encoder_tokens(self.matcher.tokenize, texts, self.batch_size))),
            return_index=True,
            return_inverse=True,
        )
        text_at = first[same][np.asarray(text_at, np.int64)]
        # Sorted by image, so that the pairs of an image go to one process.
        order = np.argsort(image_at, kind="stable")
        own = np.array_split(order, accelerator.num_processes)[accelerator.process_index]
        with accelerator.autocast():
            scores = self.matcher.pair_scores(
                images, np.asarray(image_at)[own], texts, text_at[own], self.batch_size, self.num_workers
            )
        result = np.empty(count)
        result[order] = np.concatenate(gather_object([scores]))
        return result


Scorer = EmbeddingScorer | MatchingScorer | ProbeScorer


def cosines(
    one: StoredEmbeddings,
    one_at: Sequence[int],
    other: StoredEmbeddings | torch.Tensor,
    other_at: Sequence[int],
) -> np.ndarray:
    """Return float64, (pairs,): computed in float64, so that equal embeddings get equal scores in any position."""
    one_at, other_at = np.asarray(one_at, np.int64), np.asarray(other_at, np.int64)
    result = np.empty(len(one_at))
    for start in range(0, len(result), PAIRS_AT_A_TIME):
        some = slice(start, start + PAIRS_AT_A_TIME)
        result[some] = (one[one_at[some]].double() * other[other_at[some]].double()).sum(dim=1).numpy()
    return result
