"""Retrieval among embeddings, of however many."""

import tempfile
from collections.abc import Sequence

import numpy as np
import torch

from conclip.embedding.store import StoredEmbeds
from conclip.metrics.retrieval_recall.retrieval_recall import RetrievalRecall

QUERIES_AT_A_TIME = 512
Embeds = torch.Tensor | StoredEmbeds


def recall(
    queries: Embeds, query_at: np.ndarray, pool: Embeds, positives: Sequence[Sequence[int]], ks: Sequence[int]
) -> dict:
    """
    Args:
        queries, pool: float32, (n, d) and (N, d), unit rows.
        query_at: int, (Q,), which of `queries` are asked.
        positives: for each of `queries`, which of `pool` are right.

    Returns:
        As of the metric retrieval_recall: a query counts at k if fewer than k wrong ones score as high as its best
        right one.
    """
    everything = pool[:].double().T
    with tempfile.TemporaryDirectory() as folder:
        metric = RetrievalRecall(cache_dir=folder)
        for start in range(0, len(query_at), QUERIES_AT_A_TIME):
            at = query_at[start : start + QUERIES_AT_A_TIME]
            # Computed in double and rounded: equal embeddings have equal scores wherever they stand in the matrix.
            scores = (queries[at].double() @ everything).float()
            metric.add_batch(scores=scores, positives=[positives[index] for index in at])
        return metric.compute(ks=list(ks))
