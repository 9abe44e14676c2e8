"""Rows of unit embeddings: reading and checking them, which are the same image, exact scores of pairs."""

from collections.abc import Iterator

import numpy as np
import torch

ROWS_AT_A_TIME = 4_096
# Few enough for the cache: more take twice the time.
PAIRS_AT_A_TIME = 512
# How far from 1 the length of a row may be: float16 rounds it by less than 0.0005.
LENGTH_TOLERANCE = 0.01


def as_float32(rows) -> torch.Tensor:
    """(n, d) of an array or tensor, float32 and contiguous, on the CPU."""
    # A copy only of what is mapped for reading.
    rows = rows if isinstance(rows, torch.Tensor) else torch.from_numpy(np.require(rows, requirements="W"))
    return rows.detach().to("cpu", torch.float32).contiguous()


def read_rows(source, start: int, stop: int) -> torch.Tensor:
    return as_float32(source[start:stop])


def pair_scores(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """
    Args:
        left, right: float32, (pairs, d).

    Returns:
        float32, (pairs,). A pair's score does not depend on where it stands.
    """
    # NumPy adds up each row by itself in a fixed order; torch's order depends on the number of rows.
    products = np.multiply(left.numpy(), right.numpy(), dtype=np.float64)
    return torch.from_numpy(np.add.reduce(products, axis=1).astype(np.float32))


def check_unit_rows(source, what: str) -> int:
    """
    Args:
        what: the name in the message.

    Returns:
        d.

    Raises:
        ValueError: no rows, not (n, d), or a row whose length is not 1.
    """
    if not len(source):
        raise ValueError(f"There is no embedding in the {what}.")
    for start in range(0, len(source), ROWS_AT_A_TIME):
        rows = read_rows(source, start, start + ROWS_AT_A_TIME)
        if rows.dim() != 2:
            raise ValueError(f"The {what} must be embeddings (n, d), one a row; a row of them is {rows.shape[1:]}.")
        lengths = rows.norm(dim=1)
        # Written so that NaN counts as wrong.
        wrong = (~((lengths - 1).abs() <= LENGTH_TOLERANCE)).nonzero()
        if len(wrong):
            row = int(wrong[0])
            raise ValueError(
                f"Row {start + row} of the {what} has length {lengths[row]:.4g} instead of 1: divide each "
                "embedding by its length."
            )
    return rows.shape[1]


def image_ids(query_keys: np.ndarray | None, pool_keys: np.ndarray | None) -> tuple[np.ndarray, np.ndarray] | None:
    """
    Numbers in place of content keys (uint8, (n, 16), zeros where unknown: `image_keys.StoredImages.keys`).

    Returns:
        int64, (queries,) and (pool,), equal where two images are the same; an unknown key is equal to none.
    """
    if query_keys is None or pool_keys is None:
        return None
    both = np.ascontiguousarray(np.concatenate([query_keys, pool_keys]))
    ids = np.unique(both.view(f"S{both.shape[1]}").ravel(), return_inverse=True)[1].astype(np.int64)
    queries, pool = np.split(ids, [len(query_keys)])
    # Enough on one side.
    return queries, np.where(pool_keys.any(axis=1), pool, -1)


def pairs_of_equals(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The positions in `left` and in `right`, both (pairs,), wherever the two hold the same."""
    order = np.argsort(right, kind="stable")
    first, last = (np.searchsorted(right[order], left, side=side) for side in ("left", "right"))
    counts = last - first
    offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(np.arange(len(left)), counts), order[np.repeat(first, counts) + offsets]


def parts_of(count: int) -> Iterator[slice]:
    return (slice(start, start + PAIRS_AT_A_TIME) for start in range(0, count, PAIRS_AT_A_TIME))


def best_of_each(query, column, scores, k: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """By query, and of each the k of the highest score, the lower column first among equals."""
    order = torch.from_numpy(np.lexsort((column.numpy(), -scores.numpy(), query.numpy())))
    query = query[order]
    rank = torch.arange(len(query)) - torch.searchsorted(query, query)
    order, query = order[rank < k], query[rank < k]
    return query, column[order], scores[order]


def as_table(query, column, scores, rows: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    indices, values = np.full((rows, k), -1, np.int64), np.full((rows, k), -np.inf, np.float32)
    place = (torch.arange(len(query)) - torch.searchsorted(query, query)).numpy()
    indices[query.numpy(), place], values[query.numpy(), place] = column.numpy(), scores.numpy()
    return indices, values
