"""Recall of retrieval over embeddings, with memory that does not grow with the number of queries."""

import tempfile
from collections.abc import Sequence

import numpy as np
import torch

from conclip.embedding.store import StoredEmbeddings
from conclip.metrics.retrieval_recall.retrieval_recall import RetrievalRecall

QUERIES_AT_A_TIME = 512
Embeddings = torch.Tensor | StoredEmbeddings


def recall(
    queries: Embeddings, query_at: np.ndarray, pool: Embeddings, positives: Sequence[Sequence[int]], ks: Sequence[int]
) -> dict:
    """
    Rank a pool by its cosine with each query and return recall@k.

    Args:
        queries, pool: float32, (n, d) and (N, d), unit rows.
        query_at: int, (Q,), the indices of the queries to score.
        positives: for each of `queries`, the indices of the right candidates in `pool`.
        ks: how many of the best candidates count.

    Returns:
        The result of the metric `retrieval_recall`: a query counts at k if fewer than k wrong candidates score at
        least as high as its best right one.
    """
    everything = pool[:].double().T
    with tempfile.TemporaryDirectory() as folder:
        metric = RetrievalRecall(cache_dir=folder)
        for start in range(0, len(query_at), QUERIES_AT_A_TIME):
            at = query_at[start : start + QUERIES_AT_A_TIME]
            # Computed in float64 and then rounded, so that equal embeddings get equal scores in any row of the matrix.
            scores = (queries[at].double() @ everything).float()
            metric.add_batch(scores=scores, positives=[positives[index] for index in at])
        return metric.compute(ks=list(ks))
