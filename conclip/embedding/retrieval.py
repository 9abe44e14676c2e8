"""
Recall of captions and images over embeddings, with memory that does not grow with the number of queries.

The rule is that of published evaluations, such as CLIP_benchmark's `zeroshot_retrieval.py` and NegBench: a caption's
own image alone is right, even if another image has the same caption, and an image's own captions alone are right. Here
a tie is an error too.
"""

from collections.abc import Sequence

import numpy as np
import torch

from conclip.atomic_write import scratch_folder
from conclip.embedding.store import StoredEmbeddings, as_scalars
from conclip.metrics.retrieval_recall.retrieval_recall import RetrievalRecall

QUERIES_AT_A_TIME = 512
Embeddings = torch.Tensor | StoredEmbeddings


def pool_images(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Find the distinct images among all images. A copy of the right image in the pool would tie with it.

    Args:
        keys: uint8, (images, 16), from `ImageEmbedder.keys`: equal for images of equal content.

    Returns:
        The index of the first copy of each distinct image, int64, (pool,), ascending; and for each image, the index of
        its content in that pool, int64, (images,).
    """
    _, first, content = np.unique(as_scalars(keys), return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order], np.argsort(order)[content]


def text_to_image_recall(
    texts: Embeddings, text_at: np.ndarray, images: Embeddings, pool: np.ndarray, own: np.ndarray, ks: Sequence[int]
) -> dict:
    """
    Search a pool of images for the image of each caption.

    Args:
        texts, images: float32, (n, d), unit rows.
        text_at: int, (captions,), the index of each caption in `texts`.
        pool: int, (pool,), indices into `images` of the distinct images.
        own: int, (captions,), the index of each caption's image in `pool`.
        ks: how many of the best candidates count.

    Returns:
        As `recall`; the queries are the captions.
    """
    return recall(texts, text_at, images, pool, own[:, None], ks)


def image_to_text_recall(
    texts: Embeddings, text_at: np.ndarray, images: Embeddings, pool: np.ndarray, own: np.ndarray, ks: Sequence[int]
) -> dict:
    """
    Search all captions for those of each image that has any.

    Args:
        texts, text_at, images, pool, own, ks: as in `text_to_image_recall`.

    Returns:
        As `recall`; the queries are the images, in the order of `pool`.
    """
    captions = [[] for _ in pool]
    for caption, image in enumerate(own.tolist()):
        captions[image].append(caption)
    described = [image for image, some in enumerate(captions) if some]
    return recall(images, pool[described], texts, text_at, [captions[image] for image in described], ks)


def first_image_true(
    texts: Embeddings, text_at: np.ndarray, images: Embeddings, pool: np.ndarray, truth: np.ndarray
) -> dict:
    """
    Search a pool of images for any image of which each caption is true.

    Args:
        texts, text_at, images, pool: as in `text_to_image_recall`.
        truth: bool, (captions, pool): of which images each caption is true, of one at least.

    Returns:
        As `recall` for k = 1: how often the first image is one of these, if no other image ties with it.
    """
    return recall(texts, text_at, images, pool, [np.flatnonzero(row) for row in truth], [1])


def recall(
    queries: Embeddings,
    query_at: np.ndarray,
    candidates: Embeddings,
    candidate_at: np.ndarray,
    positives: Sequence[Sequence[int]],
    ks: Sequence[int],
) -> dict:
    """
    Rank candidates by their cosine with each query and return recall@k.

    Args:
        queries, candidates: float32, (n, d), unit rows.
        query_at: int, (Q,), the index of each query in `queries`.
        candidate_at: int, (N,), the index of each candidate in `candidates`.
        positives: for each query, its right candidates, as indices into `candidate_at`.
        ks: how many of the best candidates count.

    Returns:
        The result of the metric `retrieval_recall`: a query counts at k if fewer than k wrong candidates score at
        least as high as its best right one. `items` holds `rank` and `tied` of each query.
    """
    everything = candidates[candidate_at].double().T
    with scratch_folder() as folder:
        metric = RetrievalRecall(cache_dir=folder)
        for start in range(0, len(query_at), QUERIES_AT_A_TIME):
            some = slice(start, start + QUERIES_AT_A_TIME)
            # Computed in float64 and then rounded, so that equal embeddings get equal scores in any row of the matrix.
            scores = (queries[query_at[some]].double() @ everything).float()
            metric.add_batch(scores=scores, positives=positives[some])
        return metric.compute(ks=list(ks), return_items=True)
