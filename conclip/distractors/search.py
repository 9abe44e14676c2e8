"""
Find the most similar images by their embeddings: an exact search, block by block, in constant memory.

The score of two images is the dot product of their embeddings in float64, rounded to float32. The matrix product in
float32 is faster but less precise, so it only proposes pairs: every pair that could be among the best, given the
largest rounding error of the product, is computed again in float64.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from tqdm.auto import tqdm

from conclip.distractors.caption_filter import CaptionFilter
from conclip.errors import UsageError

# 64 MB of products at a time.
ROWS_PER_BLOCK = COLUMNS_PER_TILE = 4_096
# Few enough for the processor's cache: more take twice the time.
PAIRS_AT_A_TIME = 512
# How far from 1 the length of an embedding may be: float16 rounds it by less than 0.0005.
LENGTH_TOLERANCE = 0.01


class Distractors(NamedTuple):
    """
    The distractors of n queries, k for each.

    Args:
        indices: int64, (n, k), images of the pool; -1 where there are no more.
        scores: float32, (n, k), dot products with the query; -inf where there are no more.
        negation_holds: bool, (n, k), whether the negated caption of the query is true of the image, as far as its
            captions tell; `False` without a `CaptionFilter`.
    """

    indices: np.ndarray
    scores: np.ndarray
    negation_holds: np.ndarray


def find_distractors(
    queries,
    pool=None,
    top_k: int = 3,
    *,
    duplicate_similarity: float | None = 0.999,
    query_keys: np.ndarray | None = None,
    pool_keys: np.ndarray | None = None,
    caption_filter: CaptionFilter | None = None,
    parts=None,
    progress: bool = False,
) -> Distractors:
    """
    Find the most similar images of a pool for each query.

    Args:
        queries, pool: unit embeddings, (n, d) and (m, d), float32 or float16: arrays (also memory-mapped), tensors, or
            any object with a length that returns rows for a slice and for an array of indices. Without a pool, the
            queries are the pool, and no image finds itself.
        top_k: number of images to find for each query.
        duplicate_similarity: an image whose score is this or more is a copy of the query and is not found; `None`
            turns this off.
        query_keys, pool_keys: uint8, (n, 16) and (m, 16), content keys of the images (zeros: unknown). Images with
            the same key do not find each other.
        caption_filter: images that match the query's negated caption come first, and the most similar others follow if
            there are fewer than `top_k`. Queries that negate nothing get the most similar images.
        parts: a `conclip.distractors.files.Parts` that keeps finished blocks, for a run that may be interrupted.
        progress: whether to show a progress bar.

    Returns:
        `Distractors`: for each query, the highest score first, and the lower index first among equal scores.

    Raises:
        UsageError: the parameters do not fit together.
    """
    search = Search(queries, queries if pool is None else pool, top_k, duplicate_similarity, query_keys, pool_keys)
    found = []
    with tqdm(total=len(queries), desc="Searching", unit=" images", disable=not progress) as bar:
        for start in range(0, len(queries), ROWS_PER_BLOCK):
            rows = np.arange(start, min(start + ROWS_PER_BLOCK, len(queries)))
            block = parts.read(start) if parts else None
            if block is None:
                block = _find_block(search, rows, caption_filter)
                if parts:
                    parts.write(start, block)
            found.append(block)
            bar.update(len(rows))
    return Distractors(*map(np.concatenate, zip(*found, strict=True)))


def merge_distractors(found: Sequence[Distractors], firsts: Sequence[int]) -> Distractors:
    """
    Merge the results of searches in parts of a pool, one on each machine, into that of a search in the whole pool.

    The search in a part does not know which image of the pool is the query. Give it the keys of the images, or keep
    `duplicate_similarity`; otherwise an image may find itself.

    Args:
        found: of each part, for the same queries and with the same options.
        firsts: the index, in the whole pool, of the first image of each part.

    Returns:
        `Distractors` with indices of the whole pool, as many for each query as a part has.
    """
    moved = [np.where(part.indices < 0, -1, part.indices + first) for part, first in zip(found, firsts, strict=True)]
    indices = np.concatenate(moved, axis=1)
    scores = np.concatenate([part.scores for part in found], axis=1)
    negation_holds = np.concatenate([part.negation_holds for part in found], axis=1)
    best = np.lexsort((indices, -scores, ~negation_holds), axis=1)[:, : found[0].indices.shape[1]]
    return Distractors(*(np.take_along_axis(values, best, axis=1) for values in (indices, scores, negation_holds)))


def _find_block(search: "Search", rows: np.ndarray, caption_filter: CaptionFilter | None) -> Distractors:
    if caption_filter is None:
        indices, scores = search.find(rows)
        return Distractors(indices, scores, np.zeros(indices.shape, bool))
    indices = np.full((len(rows), search.k), -1, np.int64)
    scores = np.full((len(rows), search.k), -np.inf, np.float32)
    negating = np.flatnonzero(caption_filter.negates[rows])
    if len(negating):
        indices[negating], scores[negating] = search.find(rows[negating], caption_filter)
    negation_holds = indices >= 0
    incomplete = np.flatnonzero(~negation_holds.all(axis=1))
    if len(incomplete):
        for row, others, other_scores in zip(incomplete, *search.find(rows[incomplete]), strict=True):
            have = negation_holds[row].sum()
            new = np.flatnonzero(~np.isin(others, indices[row, :have]))[: search.k - have]
            indices[row, have : have + len(new)] = others[new]
            scores[row, have : have + len(new)] = other_scores[new]
    return Distractors(indices, scores, negation_holds)


@dataclass
class Search:
    """The search behind `find_distractors`, which explains the fields; `pool is queries` where there is no pool."""

    queries: object
    pool: object
    k: int
    duplicate_similarity: float | None = 0.999
    query_keys: np.ndarray | None = None
    pool_keys: np.ndarray | None = None

    def __post_init__(self):
        dimensions = _check_embeddings(self.queries, "queries")
        of_pool = dimensions if self.pool is self.queries else _check_embeddings(self.pool, "pool")
        if dimensions != of_pool:
            raise UsageError(
                f"The queries have {dimensions} dimensions and the pool has {of_pool}: embed both with one model."
            )
        if not 1 <= self.k <= len(self.pool):
            raise UsageError(
                f"{self.k} distractors cannot be found in a pool of {len(self.pool)} images: change top_k."
            )
        for keys, rows, what in ((self.query_keys, self.queries, "queries"), (self.pool_keys, self.pool, "pool")):
            if keys is not None and (len(keys) != len(rows) or keys.ndim != 2 or keys.dtype != np.uint8):
                raise UsageError(f"The keys of the {what} must be uint8, ({len(rows)}, 16), got {keys.shape}.")
        self._key_numbers = _number_keys(self.query_keys, self.pool_keys)
        # |computed - true| <= d u |x| |y|, u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, 3.1);
        # the rest is for the rounding of the score itself.
        self._error = (dimensions + 4) * 2.0**-24 * (1 + LENGTH_TOLERANCE) ** 2

    def find(
        self, rows: np.ndarray, allowed: Callable[[np.ndarray, int, int], torch.Tensor] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        Find the k most similar images of some queries, in one block.

        Args:
            rows: int64, (r,), indices of queries.
            allowed: called with (rows, start, stop), where start and stop are a range of the pool; returns bool,
                (r, stop - start): which of these images these queries may find.

        Returns:
            Indices of the pool, int64, and scores, float32, (r, k): the highest score first; -1 and -inf where there
            are no more images.
        """
        queries = as_float32(self.queries[rows])
        # All parts of the pool use this memory: new memory each time would take a tenth of the time of the product.
        buffer = torch.empty(len(rows), min(len(self.pool), COLUMNS_PER_TILE))
        indices = np.full((len(rows), self.k), -1, np.int64)
        scores = np.full((len(rows), self.k), -np.inf, np.float32)
        precision = torch.get_float32_matmul_precision()
        # A process may have asked for bfloat16, whose error is larger.
        torch.set_float32_matmul_precision("highest")
        try:
            for start in range(0, len(self.pool), COLUMNS_PER_TILE):
                images = as_float32(self.pool[start : start + COLUMNS_PER_TILE])
                products = _product(queries, images, buffer[:, : len(images)])
                self._exclude(products, queries, images, rows, start)
                if allowed is not None:
                    products.masked_fill_(~allowed(rows, start, start + len(images)), -torch.inf)
                row, column = self._candidates(products, torch.from_numpy(scores[:, -1]))
                _merge(indices, scores, row, column + start, _exact_scores(queries, images, row, column))
        finally:
            torch.set_float32_matmul_precision(precision)
        return indices, scores

    def _exclude(self, products, queries, images, rows: np.ndarray, start: int) -> None:
        """Set the products of a query with itself and with copies of it to -inf."""
        stop = start + len(images)
        if self.pool is self.queries:
            own = np.flatnonzero((rows >= start) & (rows < stop))
            products[own, rows[own] - start] = -torch.inf
        if self._key_numbers is not None:
            of_queries, of_pool = self._key_numbers
            products.masked_fill_(of_queries[rows][:, None] == of_pool[start:stop], -torch.inf)
        if self.duplicate_similarity is not None:
            limit = self.duplicate_similarity - self._error
            some = np.flatnonzero(products.amax(dim=1).numpy() >= limit)
            row, column = np.nonzero(products.numpy()[some] >= limit)
            copies = _exact_scores(queries, images, some[row], column) >= self.duplicate_similarity
            products[some[row[copies]], column[copies]] = -torch.inf

    def _candidates(self, products: torch.Tensor, worst: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of each pair that could be among the best k; `worst` is the k-th score so far, (r,)."""
        if worst.isinf().any():
            best = products.topk(min(self.k, products.shape[1])).values
            worst = torch.where(worst.isinf(), best[:, -1], worst)
        at_least = (worst - 2 * self._error).clamp_(min=torch.finfo(torch.float32).min)
        # Twice as fast as `nonzero` of two dimensions.
        return np.divmod(np.flatnonzero((products >= at_least[:, None]).numpy()), products.shape[1])


def as_float32(rows) -> torch.Tensor:
    """Return an array or tensor as a contiguous float32 tensor on the CPU."""
    # torch takes no array that cannot be written to, such as one that is mapped for reading: this copies it.
    rows = rows if isinstance(rows, torch.Tensor) else torch.from_numpy(np.require(rows, requirements="W"))
    return rows.detach().to("cpu", torch.float32).contiguous()


def _check_embeddings(embeddings, name: str) -> int:
    """Return d of embeddings (n, d). Raises `UsageError` for another shape or a length other than 1."""
    if not len(embeddings):
        raise UsageError(f"There are no embeddings in the {name}: embed one image or more.")
    for start in range(0, len(embeddings), ROWS_PER_BLOCK):
        rows = as_float32(embeddings[start : start + ROWS_PER_BLOCK])
        if rows.dim() != 2:
            raise UsageError(f"The {name} must be embeddings (n, d), one per row; a row is {rows.shape[1:]}.")
        lengths = rows.norm(dim=1)
        # Written so that NaN counts as wrong.
        wrong = (~((lengths - 1).abs() <= LENGTH_TOLERANCE)).nonzero().flatten()
        if len(wrong):
            raise UsageError(
                f"Row {start + wrong[0]} of the {name} has length {lengths[wrong[0]]:.4g} instead of 1: divide each "
                "embedding by its length."
            )
    return rows.shape[1]


def _number_keys(query_keys: np.ndarray | None, pool_keys: np.ndarray | None) -> tuple | None:
    """Return an int32 for each key, (n,) and (m,), equal where the keys are; an unknown key equals none."""
    if query_keys is None or pool_keys is None:
        return None
    both = np.ascontiguousarray(np.concatenate([query_keys, pool_keys]))
    numbers = np.unique(both.view(f"S{both.shape[1]}").ravel(), return_inverse=True)[1].astype(np.int32)
    of_pool = np.where(pool_keys.any(axis=1), numbers[len(query_keys) :], np.int32(-1))
    return torch.from_numpy(numbers[: len(query_keys)]), torch.from_numpy(of_pool)


def _product(queries: torch.Tensor, images: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    return torch.mm(queries, images.T, out=out)


def _exact_scores(queries: torch.Tensor, images: torch.Tensor, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    # NumPy, since the threads of torch wait for each other in small operations.
    left, right = queries.numpy(), images.numpy()
    scores = np.empty(len(row), np.float32)
    for start in range(0, len(row), PAIRS_AT_A_TIME):
        pairs = slice(start, start + PAIRS_AT_A_TIME)
        scores[pairs] = np.multiply(left[row[pairs]], right[column[pairs]], dtype=np.float64).sum(axis=1)
    return scores


def _merge(indices: np.ndarray, scores: np.ndarray, row, column, score) -> None:
    """Put new pairs among the best so far, (r, k), in place."""
    count, k = indices.shape
    row = np.concatenate([np.repeat(np.arange(count), k), row])
    column = np.concatenate([indices.ravel(), column])
    score = np.concatenate([scores.ravel(), score])
    order = np.lexsort((column, -score, row))
    # Every row has at least the k pairs, or gaps, from before.
    rank = np.arange(len(row)) - np.searchsorted(row[order], row[order])
    best = order[rank < k].reshape(count, k)
    indices[:], scores[:] = column[best], score[best]
