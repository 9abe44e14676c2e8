"""
The nearest rows of a pool of embeddings: exact, in blocks, the same whatever the blocks, the threads and the library.

A pair's score is the dot product of its two rows in float64, rounded to float32; equal scores go by the lower index.
A matrix product in float32 only proposes pairs. It errs by less than a known bound, so everything within that bound of
the k-th best is scored again, and no pair that belongs to the best is lost.
"""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from tqdm.auto import tqdm

from conclip.distractors.unit_rows import (
    LENGTH_TOLERANCE,
    as_float32,
    as_table,
    best_of_each,
    check_unit_rows,
    image_ids,
    pair_scores,
    pairs_of_equals,
    parts_of,
    read_rows,
)

# 64 MB of scores at a time. Smaller tiles stay in the processor's cache, but gain nothing by it, and threads that wait
# for each other more often lose much where the machine is shared.
ROWS_A_BLOCK = COLUMNS_A_TILE = 4_096
WIDEST_CHUNK = 64
MOST_CANDIDATES = 1 << 22
# FAISS proposes so many more than asked for, in case some of them are excluded.
FAISS_SPARE = 13
BACKENDS = ("auto", "torch", "faiss")

Found = tuple[np.ndarray, np.ndarray]


@dataclass
class Search:
    """
    Args:
        queries, pool: unit rows, (n, d) and (m, d), float32 or float16: arrays (also mapped), tensors, or whatever
            has a length and gives rows by slice and by an array of indices. Where `pool is queries`, no row finds
            itself.
        k: how many to find for each query.
        duplicate_similarity: pairs that score as much or more are the same image, and not found. `None`: none is.
        query_keys, pool_keys: uint8, (n, 16) and (m, 16), content keys; images of one key do not find each other.
        allowed: (rows, start, stop) -> bool, (len(rows), stop - start): which of these columns of the pool these
            queries may find; rows is int64.
        backend: "torch", "faiss", or "auto": FAISS where it is installed. FAISS takes no `allowed`: "auto" then does
            without. It holds the pool in memory as float32.

    Raises:
        ValueError: anything that does not fit.
    """

    queries: object
    pool: object
    k: int
    duplicate_similarity: float | None = 0.999
    query_keys: np.ndarray | None = None
    pool_keys: np.ndarray | None = None
    allowed: Callable[[np.ndarray, int, int], torch.Tensor] | None = None
    backend: str = "auto"

    def __post_init__(self):
        dimensions = check_unit_rows(self.queries, "queries")
        of_pool = dimensions if self.pool is self.queries else check_unit_rows(self.pool, "pool")
        if dimensions != of_pool:
            raise ValueError(f"Queries of {dimensions} dimensions do not go with a pool of {of_pool}.")
        if not 1 <= self.k <= len(self.pool):
            raise ValueError(f"{self.k} of a pool of {len(self.pool)} images cannot be found: change top_k.")
        for keys, rows, what in ((self.query_keys, self.queries, "queries"), (self.pool_keys, self.pool, "pool")):
            if keys is not None and (len(keys) != len(rows) or keys.ndim != 2 or keys.dtype != np.uint8):
                raise ValueError(f"The keys of the {what} must be uint8, ({len(rows)}, 16), got {keys.shape}.")
        self._choose_backend()
        self._ids = image_ids(self.query_keys, self.pool_keys)
        # |computed - true| <= d u |x| |y|, u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, 3.1);
        # the rest is for the rounding of the score itself.
        self._error = (dimensions + 4) * 2.0**-24 * (1 + LENGTH_TOLERANCE) ** 2
        width = min(COLUMNS_A_TILE, len(self.pool)) // (4 * self.k)
        self._chunk = min(WIDEST_CHUNK, 1 << max(0, width.bit_length() - 1))
        self._buffer = torch.empty(0)

    def _choose_backend(self) -> None:
        has_faiss = importlib.util.find_spec("faiss") is not None
        if self.backend == "auto":
            self.backend = "faiss" if has_faiss and not self.allowed else "torch"
        if self.backend not in BACKENDS or (self.backend == "faiss" and (self.allowed or not has_faiss)):
            raise ValueError(
                f"The backend must be one of {', '.join(BACKENDS)}; faiss installed, and without a filter."
            )

    def rows(self, rows: np.ndarray) -> Found:
        """
        Args:
            rows: int64, (r,), some of the queries; a few thousand at a time, all their results are held.

        Returns:
            indices int64 and scores float32, (r, k), best first; -1 and -inf where there are no more.
        """
        block = as_float32(self.queries[rows])
        precision = torch.get_float32_matmul_precision()
        # The bound on the error is float32's, not that of the bfloat16 a process may have asked for.
        torch.set_float32_matmul_precision("highest")
        try:
            return self._by_faiss(block, rows) if self.backend == "faiss" else self._by_torch(block, rows)
        finally:
            torch.set_float32_matmul_precision(precision)

    def _by_torch(self, block: torch.Tensor, rows: np.ndarray) -> Found:
        # The k largest chunk maxima so far. They belong to k pairs, so the k-th best pair is no worse than the last.
        best = torch.full((len(rows), self.k), -torch.inf)
        found = []
        for start, columns in self._pool_blocks():
            found.append(self._tile(block, rows, columns, start, best))
            if sum(len(part[0]) for part in found) > MOST_CANDIDATES:
                found = [self._keep_best(block, best, found)]
        query, column, scores = self._keep_best(block, best, found)
        return as_table(query, column, scores, len(rows), self.k)

    def _pool_blocks(self) -> Iterator[tuple[int, torch.Tensor]]:
        """First column, and rows padded with zeros to a multiple of the chunk."""
        for start in range(0, len(self.pool), COLUMNS_A_TILE):
            columns = read_rows(self.pool, start, start + COLUMNS_A_TILE)
            missing = -len(columns) % self._chunk
            yield start, torch.nn.functional.pad(columns, (0, 0, 0, missing)) if missing else columns

    def _tile(self, block, rows, columns, start, best) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Updates `best`, and returns query, column and score of the pairs that may be among the best k."""
        stop = min(start + len(columns), len(self.pool))
        scores = self._product(block, columns)
        scores[:, stop - start :] = -torch.inf
        same = self._same_images(rows, start, stop)
        scores[same] = -torch.inf
        if self.allowed is not None:
            scores[:, : stop - start].masked_fill_(~self.allowed(rows, start, stop), -torch.inf)
        chunks = scores.view(-1, self._chunk)
        maxima = scores.view(len(rows), -1, self._chunk).amax(dim=2)
        self._drop_duplicates(block, columns, chunks, maxima)
        torch.topk(torch.cat([best, maxima], dim=1), self.k, out=(best, torch.empty(0, dtype=torch.int64)))
        at_least = self._at_least(best)
        chosen = (maxima >= at_least[:, None]).view(-1).nonzero()[:, 0]
        of_row = chosen // maxima.shape[1]
        values = chunks[chosen]
        which, place = (values >= at_least[of_row, None]).nonzero(as_tuple=True)
        in_row = (chosen % maxima.shape[1])[which] * self._chunk + place
        return of_row[which], in_row + start, values[which, place]

    def _product(self, block: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        size = len(block) * len(columns)
        if len(self._buffer) < size:
            self._buffer = torch.empty(size)
        return torch.mm(block, columns.T, out=self._buffer[:size].view(len(block), len(columns)))

    def _same_images(self, rows: np.ndarray, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions in the tile of the pairs that are known to be one image."""
        query = column = np.empty(0, np.int64)
        if self.pool is self.queries:
            query = np.flatnonzero((rows >= start) & (rows < stop))
            column = rows[query] - start
        if self._ids is not None:
            of_key = pairs_of_equals(self._ids[0][rows], self._ids[1][start:stop])
            query, column = np.concatenate([query, of_key[0]]), np.concatenate([column, of_key[1]])
        return torch.from_numpy(query), torch.from_numpy(column)

    def _drop_duplicates(self, block, columns, chunks, maxima) -> None:
        """Sets the scores of duplicates to -inf, in `chunks` (views of the scores) and in `maxima`."""
        if self.duplicate_similarity is None:
            return
        possible = self.duplicate_similarity - self._error
        chosen = (maxima >= possible).view(-1).nonzero()[:, 0]
        if not len(chosen):
            return
        values = chunks[chosen]
        which, place = (values >= possible).nonzero(as_tuple=True)
        query, chunk = chosen[which] // maxima.shape[1], chosen[which] % maxima.shape[1]
        for part in parts_of(len(which)):
            exact = pair_scores(block[query[part]], columns[chunk[part] * self._chunk + place[part]])
            dropped = exact >= self.duplicate_similarity
            values[which[part][dropped], place[part][dropped]] = -torch.inf
        chunks[chosen] = values
        maxima.view(-1)[chosen] = values.amax(dim=1)

    def _at_least(self, best: torch.Tensor) -> torch.Tensor:
        """What the product gives for a pair, at the least, if it is one of the best k; never -inf."""
        return (best[:, -1] - 2 * self._error).clamp_(min=torch.finfo(torch.float32).min)

    def _keep_best(self, block, best, found) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The best k of each row, in order."""
        query, column, scores = (torch.cat(parts) for parts in zip(*found, strict=True))
        kept = scores >= self._at_least(best)[query]
        query, column = query[kept], column[kept]
        return best_of_each(query, column, self._exact(block, query, column), self.k)

    def _exact(self, block: torch.Tensor, query: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        scores = torch.empty(len(query))
        for part in parts_of(len(query)):
            scores[part] = pair_scores(block[query[part]], as_float32(self.pool[column[part].numpy()]))
        return scores

    @cached_property
    def _index(self):
        import faiss

        index = faiss.IndexFlatIP(check_unit_rows(self.pool, "pool"))
        for start in range(0, len(self.pool), COLUMNS_A_TILE):
            index.add(read_rows(self.pool, start, start + COLUMNS_A_TILE).numpy())
        return index

    def _by_faiss(self, block: torch.Tensor, rows: np.ndarray) -> Found:
        proposed = min(len(self.pool), self.k + FAISS_SPARE)
        products, columns = (torch.from_numpy(part) for part in self._index.search(block.numpy(), proposed))
        query, column = torch.arange(len(rows)).repeat_interleave(proposed), columns.view(-1)
        different = torch.ones(len(query), dtype=torch.bool)
        if self.pool is self.queries:
            different &= torch.from_numpy(rows)[query] != column
        if self._ids is not None:
            queries, pool = map(torch.from_numpy, self._ids)
            different &= queries[torch.from_numpy(rows)][query] != pool[column]
        query, column = query[different], column[different]
        scores = self._exact(block, query, column)
        if self.duplicate_similarity is not None:
            different = scores < self.duplicate_similarity
            query, column, scores = query[different], column[different], scores[different]
        indices, scores = as_table(*best_of_each(query, column, scores, self.k), len(rows), self.k)
        if proposed < len(self.pool):
            # Nothing that was not proposed scores more than this; where the k-th does not either, all are looked at.
            limit = products[:, -1].numpy().astype(np.float64) + 2 * self._error
            open_rows = np.flatnonzero(~(scores[:, -1] > limit))
            if len(open_rows):
                indices[open_rows], scores[open_rows] = self._by_torch(block[open_rows], rows[open_rows])
        return indices, scores


def nearest(queries, pool, k: int, *, progress: bool = False, **options) -> Found:
    """
    The k nearest of the pool for every query, never itself or a duplicate.

    Args:
        queries, pool, k, options: see `Search`.
        progress: with a progress bar.

    Returns:
        indices int64, (n, k), and scores float32, (n, k), best first; -1 and -inf where there are no more.
    """
    search = Search(queries, pool, k, **options)
    found = []
    with tqdm(total=len(queries), desc="Searching", unit=" images", disable=not progress) as bar:
        for start in range(0, len(queries), ROWS_A_BLOCK):
            rows = np.arange(start, min(start + ROWS_A_BLOCK, len(queries)))
            found.append(search.rows(rows))
            bar.update(len(rows))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))
