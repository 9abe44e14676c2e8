"""Retrieval recall: how often one of a query's right candidates is among the k best of a pool.

The arithmetic is the plain function `retrieval_recall`; `RetrievalRecall` lets `evaluate.load` find it.
"""

from __future__ import annotations

import math

import datasets
import evaluate
import numpy as np

from .checks import check_rows, finite_scores, plain, rows_by_category

# Scores compared at once: 8 MB as float64, however many queries there are.
BLOCK = 2**20

QUERIES = ("query", "queries")

# What is written to disk between batches. The scores would fill the disk, so each query is stored as its rank and the
# number of ties, in the column "scores", and the number of right candidates and of all, in the column "positives".
STORED = datasets.Features(
    {
        "scores": datasets.Sequence(datasets.Value("int64"), length=2),
        "positives": datasets.Sequence(datasets.Value("int64"), length=2),
        "categories": datasets.Value("string"),
    }
)

_DESCRIPTION = """
Recall@k of retrieval: the share of queries with a right candidate among the k best of the pool. A wrong
candidate that scores as high as the best right one ranks before it, and queries with such a tie are counted. Overall
and, with a category for each query, such as plain and negated captions, per category.
"""

_KWARGS_DESCRIPTION = """
Args:
    scores (one list of `float` per query): the scores of all candidates of the pool.
    positives (one list of `int` per query): the indices of the right candidates, at least one, counted from 0.
    categories (one `str` per query, optional): the category the query belongs to; for all queries or for none.
    ks (a list of `int`, default (1, 5, 10), `compute` only): how many of the best candidates count.
    return_items (`bool`, default False, `compute` only): return the rank of each query too.

Returns:
    recall_at_<k> (`float`): the share of queries with rank <= k, from 0 to 1. The rank is 1 + the number of wrong
        candidates that score at least as high as the best right one.
    chance_at_<k> (`float`): the value of random scores.
    median_rank (`float`): the median of the ranks, from 1.
    ties_at_<k> (`int`): queries that miss the k best only because wrong candidates tie with the best right one.
    count (`int`): all queries.
    categories (`dict`, with categories): name -> the values above for that category, sorted by name.
    items (`dict`, with return_items): rank and tied (`int`), the number of wrong candidates that score as high as the
        best right one; one of each a query, in order.

Examples:
    In the folder `evaluate/` of a clone:

    >>> import evaluate
    >>> metric = evaluate.load("./retrieval_recall")
    >>> metric.compute(scores=[[0.3, 0.1, 0.2, 0.0], [0.2, 0.2, 0.1, 0.0]], positives=[[0], [1]], ks=[1, 2])
    {'recall_at_1': 0.5, 'recall_at_2': 1.0, 'chance_at_1': 0.25, 'chance_at_2': 0.5, 'ties_at_1': 1, \
'ties_at_2': 0, 'median_rank': 1.5, 'count': 2}
"""

_CITATION = """
@inproceedings{alhamoud2025vision,
  title={Vision-Language Models Do Not Understand Negation},
  author={Alhamoud, Kumail and Alshammari, Shaden and Tian, Yonglong and Li, Guohao and Torr, Philip and Kim, Yoon and
    Ghassemi, Marzyeh},
  booktitle={Conference on Computer Vision and Pattern Recognition},
  year={2025}
}
@inproceedings{karpathy2015deep,
  title={Deep Visual-Semantic Alignments for Generating Image Descriptions},
  author={Karpathy, Andrej and Fei-Fei, Li},
  booktitle={Conference on Computer Vision and Pattern Recognition},
  year={2015}
}
"""


def retrieval_recall(scores, positives, ks=(1, 5, 10), categories=None, return_items=False) -> dict:
    """Recall@k: the score of COCO, Flickr30k and NegBench retrieval, in either direction.

    Args:
        scores: (Q, N) numbers, the score of each query with each candidate; any unit; higher is better. Lists, an
            array or a tensor; compared as float64, some rows at a time.
        positives: Q lists of int, the columns of each query's right candidates, at least one (an image has five
            captions, a caption one image).
        ks: how many of the best candidates count.
        categories: (Q,) non-empty str, the category of each query, or None for no categories.
        return_items: return the rank of each query too.

    Returns:
        A dict of plain Python numbers, ready for JSON. For each k `recall_at_<k>` (float, the share of queries with
        rank <= k) and `chance_at_<k>` (float, the value of random scores: the mean over the queries of
        1 - C(N - p, k) / C(N, k) for p right candidates) and `ties_at_<k>` (int, queries that only ties keep at a rank
        above k); `median_rank` (float) and `count` (int). The rank is 1 + the number of wrong
        candidates that score at least as high as the best right one: ties go against the model. With categories also
        `categories`, a dict name -> the same, sorted by name. With `return_items` also `items`: {`rank`, `tied`},
        lists of Q int in the order of the queries; `tied` counts the wrong candidates as high as the best right one.

    Raises:
        ValueError: columns of different lengths, no queries, a query without a right candidate, a column that does not
            exist or is given twice, a score that is not a finite number, a category that is missing, or a k below 1.
            The message names the row, counted from 0.

    Example:
        >>> result = retrieval_recall([[0.3, 0.1, 0.2], [0.2, 0.2, 0.1]], [[0], [1]], (1, 2), ["plain", "negated"])
        >>> result["recall_at_1"], result["ties_at_1"]
        (0.5, 1)
        >>> result["categories"]["plain"]["recall_at_1"], result["categories"]["negated"]["median_rank"]
        (1.0, 2.0)
    """
    ks = _ks(ks)
    return _result(*_ranked(scores, positives, categories), ks, return_items)


def _result(ranked, categories, ks, return_items) -> dict:
    result = _entry(ranked, ks)
    if categories is not None:
        rows = rows_by_category(categories)
        result["categories"] = {name: _entry(ranked[row], ks) for name, row in rows.items()}
    if return_items:
        result["items"] = {"rank": ranked[:, 0].tolist(), "tied": ranked[:, 1].tolist()}
    return result


def _entry(ranked, ks) -> dict:
    ranks, tied, *sizes = ranked.T
    return {
        **{f"recall_at_{k}": int(np.count_nonzero(ranks <= k)) / len(ranks) for k in ks},
        **{f"chance_at_{k}": _chance(k, np.stack(sizes, axis=1)) for k in ks},
        **{f"ties_at_{k}": int(np.count_nonzero((ranks > k) & (ranks - tied <= k))) for k in ks},
        "median_rank": float(np.median(ranks)),
        "count": len(ranks),
    }


def _chance(k, sizes) -> float:
    """The mean chance that one of p right ones is among k drawn from n; sizes: (Q, 2), each query's p and n."""
    kinds, counts = np.unique(sizes, axis=0, return_counts=True)
    hits = []
    for p, n in kinds.tolist():
        # C(n - p, k) / C(n, k), in the form that multiplies p factors: the right ones all fall among the n - k.
        places = np.arange(p)
        hits.append(1 - np.prod(np.maximum(n - k - places, 0) / (n - places)))
    return math.fsum(counts * np.array(hits)) / len(sizes)


def _ks(ks) -> list[int]:
    ks = list(ks) if isinstance(ks, (list, tuple, range, np.ndarray)) else [ks]
    for k in ks:
        if not isinstance(k, (int, np.integer)) or isinstance(k, bool) or k < 1:
            raise ValueError(f"ks holds {k!r}: give whole numbers from 1.")
    return [int(k) for k in ks]


def _ranked(scores, positives, categories, first_row=0):
    """Check the columns; return (Q, 4) int64, each query's rank, candidates that tie, right candidates and pool
    size, and the categories, Q str or None.

    `first_row`: number of rows in earlier batches, added to the row numbers in messages.
    """
    wanted = "one list of scores a query, as many as there are candidates"
    if not hasattr(scores, "shape"):
        scores = finite_scores("scores", scores, (None,), wanted, first_row)
    if len(scores.shape) != 2:
        raise ValueError(f"scores must be {wanted}, got shape {tuple(scores.shape)}.")
    columns, counts = _flat(positives, first_row)
    categories = check_rows({"scores": scores, "positives": counts}, categories, QUERIES, first_row)
    pool = int(scores.shape[1])
    _check_positives(columns, counts, pool, first_row)

    ranked = np.empty((len(counts), 4), dtype=np.int64)
    ranked[:, 2], ranked[:, 3] = counts, pool
    offsets = np.concatenate([[0], np.cumsum(counts)])
    step = max(1, BLOCK // pool)
    for start in range(0, len(counts), step):
        block = slice(start, min(start + step, len(counts)))
        values = finite_scores("scores", scores[block], (None,), wanted, first_row + start)
        right = columns[offsets[block.start] : offsets[block.stop]]
        ranked[block, 0], ranked[block, 1] = _ranks(values, right, counts[block])
    return ranked, categories


def _ranks(values, right, counts):
    """(rows, N) scores, the right columns row by row, how many in each row -> rank and ties, (rows,) each."""
    rows = np.repeat(np.arange(len(values)), counts)
    starts = np.cumsum(counts) - counts
    best = np.maximum.reduceat(values[rows, right], starts)
    higher = np.count_nonzero(values > best[:, None], axis=1)
    equal = np.count_nonzero(values == best[:, None], axis=1)
    # No right candidate is higher than the best of them, but several may be equal to it.
    equal -= np.add.reduceat((values[rows, right] == best[rows]).astype(np.int64), starts)
    return 1 + higher + equal, equal


def _flat(positives, first_row):
    """The right columns of all queries one after the other, int64, and how many each query has, (Q,) int64."""
    if positives is None:
        raise ValueError("positives is missing.")
    positives = [np.asarray(value) for value in plain(positives)]
    for row, value in enumerate(positives, start=first_row):
        if value.ndim != 1 or not len(value) or value.dtype.kind not in "iu":
            raise ValueError(
                f"Row {row} of positives is {value.tolist()!r}: a query needs a list of one or more column indices."
            )
    counts = np.array([len(value) for value in positives], dtype=np.int64)
    return np.concatenate([*positives, np.empty(0, dtype=np.int64)]).astype(np.int64), counts


def _check_positives(columns, counts, pool, first_row):
    rows = np.repeat(np.arange(len(counts)), counts)
    astray = np.flatnonzero((columns < 0) | (columns >= pool))
    if len(astray):
        row, column = rows[astray[0]], columns[astray[0]]
        raise ValueError(f"Row {first_row + row} of positives holds {column}: there are {pool} candidates, from 0.")
    cells, times = np.unique(rows * pool + columns, return_counts=True)
    if (times > 1).any():
        row, column = divmod(int(cells[times > 1][0]), pool)
        raise ValueError(f"Row {first_row + row} of positives holds {column} twice: give each candidate once.")


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class RetrievalRecall(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    "scores": datasets.Sequence(datasets.Value("float64")),
                    "positives": datasets.Sequence(datasets.Value("int64")),
                    "categories": datasets.Value("string"),
                }
            ),
            reference_urls=["https://arxiv.org/abs/2501.09425", "https://arxiv.org/abs/1412.2306"],
        )

    def _infer_feature_from_batch(self, batch):
        return STORED

    def add(self, *, scores, positives, categories=None):
        """Add one query: its scores, the indices of the right candidates and, optionally, its category."""
        categories = None if categories is None else [categories]
        self.add_batch(scores=[scores], positives=[positives], categories=categories)

    def add_batch(self, *, scores, positives, categories=None):
        """Add a batch of queries; a faulty batch raises ValueError and is not added."""
        ranked, categories = _ranked(scores, positives, categories, first_row=len(self))
        # The library has no optional columns and stores no None in a string column. The empty string, which cannot be
        # a category, means "no categories".
        super().add_batch(
            scores=ranked[:, :2].tolist(),
            positives=ranked[:, 2:].tolist(),
            categories=categories or [""] * len(ranked),
        )

    def _compute(self, scores, positives, categories, ks=(1, 5, 10), return_items=False):
        categories = categories if any(categories) else None
        # Some batches may have come without categories.
        categories = check_rows({"scores": scores}, categories, QUERIES)
        return _result(np.hstack([scores, positives]), categories, _ks(ks), return_items)
