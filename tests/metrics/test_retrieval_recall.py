"""Recall@k against a loop and literal cases; test_metric_inputs.py has what holds of every metric."""

import itertools
import math
import statistics

import numpy as np
import pytest
import torch

from conclip.metrics.retrieval_recall import retrieval_recall as module
from conclip.metrics.retrieval_recall.retrieval_recall import RetrievalRecall, retrieval_recall

NAN = float("nan")


@pytest.fixture
def metric(tmp_path):
    return RetrievalRecall(cache_dir=str(tmp_path))


def reference(scores, positives, ks, categories=None):
    """The definition, query by query, with no numpy and no code of the metric; the rank is a pessimistic sort's."""

    def entry(queries):
        ranks, best_ranks = [], []
        chances = {k: [] for k in ks}
        for row, right in queries:
            # Best first; among equals the wrong ones first.
            order = sorted(range(len(row)), key=lambda i: (-row[i], i in right))
            ranks.append(1 + min(place for place, i in enumerate(order) if i in right))
            order = sorted(range(len(row)), key=lambda i: (-row[i], i not in right))
            best_ranks.append(1 + min(place for place, i in enumerate(order) if i in right))
            for k in ks:
                missed = math.comb(len(row) - len(right), k) / math.comb(len(row), k) if k <= len(row) else 0
                chances[k].append(1 - missed)
        result = {"median_rank": statistics.median(ranks), "count": len(ranks)}
        for k in ks:
            result[f"recall_at_{k}"] = pytest.approx(sum(rank <= k for rank in ranks) / len(ranks), abs=1e-9)
            result[f"ties_at_{k}"] = sum(best <= k < rank for best, rank in zip(best_ranks, ranks, strict=True))
            result[f"chance_at_{k}"] = pytest.approx(sum(chances[k]) / len(ranks), abs=1e-9)
        return result

    queries = list(zip(np.asarray(scores, dtype=float).tolist(), positives, strict=True))
    result = entry(queries)
    if categories is not None:
        result["categories"] = {
            name: entry([query for query, category in zip(queries, categories, strict=True) if category == name])
            for name in set(categories)
        }
    return result


def random_queries(count, pool, seed, levels=30):
    rng = np.random.default_rng(seed)
    positives = [rng.permutation(pool)[: rng.integers(1, min(pool, 7) + 1)].tolist() for _ in range(count)]
    categories = rng.choice(["plain", "negated"], count).tolist()
    return rng.integers(0, levels, (count, pool)) / 8, positives, categories


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("pool", "levels"), [(3, 3), (12, 8), (60, 30), (60, 10**6)])
def test_equals_the_independent_loop(seed, pool, levels):
    scores, positives, categories = random_queries(150, pool, seed, levels)
    ks = (1, 2, 5, 10, 60)
    expected = reference(scores, positives, ks, categories)
    assert (expected["ties_at_1"] > 0) == (levels < 10**6)
    assert retrieval_recall(scores, positives, ks, categories) == expected


def test_blocks_do_not_show(monkeypatch):
    scores, positives, categories = random_queries(50, 11, 0)
    expected = reference(scores, positives, (1, 5, 10), categories)
    for block in (1, 11, 100, 549, 550):
        monkeypatch.setattr(module, "BLOCK", block)
        for given in (scores, scores.tolist(), torch.tensor(scores)):
            assert retrieval_recall(given, positives, categories=categories) == expected


def test_literal_case():
    scores = [
        [9, 1, 2, 3],  # first
        [5, 9, 2, 3],  # second
        [5, 5, 2, 3],  # a tie goes against the model: second
        [5, 5, 5, 3],  # columns 0 and 2 are right, 1 is not: second
        [5, 1, 5, 3],  # two right ones are equal: first, and no tie
        [1, 2, 3, 4],  # last
        [4, 4, 4, 4],  # a tie of all: last
    ]
    positives = [[0], [0], [0], [2, 0], [2, 0], [0], [0]]
    result = retrieval_recall(scores, positives, (1, 2, 4), list("aaaabbb"), return_items=True)
    assert result.pop("items") == {
        "rank": [1, 2, 2, 2, 1, 4, 4],
        "tied": [0, 0, 1, 1, 0, 0, 3],
    }
    categories = result.pop("categories")
    # One right of four: 1/4, 2/4, 1. Two right of four: 1/2, and two drawn miss both in 1 of 6 draws.
    assert result == {
        "recall_at_1": 2 / 7,
        "recall_at_2": 5 / 7,
        "recall_at_4": 1.0,
        "chance_at_1": pytest.approx((5 / 4 + 2 / 2) / 7, abs=1e-12),
        "chance_at_2": pytest.approx((5 / 2 + 2 * 5 / 6) / 7, abs=1e-12),
        "chance_at_4": 1.0,
        "median_rank": 2.0,
        "ties_at_1": 3,
        "ties_at_2": 1,
        "ties_at_4": 0,
        "count": 7,
    }
    assert categories["a"]["median_rank"] == 2.0
    assert (categories["b"]["recall_at_1"], categories["b"]["ties_at_1"], categories["b"]["count"]) == (1 / 3, 1, 3)


def test_chance_is_what_all_orders_give():
    orders = list(itertools.permutations(range(5)))
    result = retrieval_recall(orders, [[1, 3]] * len(orders), (1, 2, 3, 4))
    for k in (1, 2, 3, 4):
        assert result[f"recall_at_{k}"] == pytest.approx(result[f"chance_at_{k}"], abs=1e-12)


def test_chance_in_a_pool_whose_binomials_overflow():
    result = retrieval_recall(np.zeros((1, 5000)), [list(range(5))], (1, 1000, 4996))
    exact = 1 - math.comb(4995, 1000) / math.comb(5000, 1000)
    assert result["chance_at_1"] == pytest.approx(5 / 5000, abs=1e-12)
    assert result["chance_at_1000"] == pytest.approx(exact, abs=1e-9)
    assert result["chance_at_4996"] == 1.0


def test_pools_may_differ_between_batches(metric):
    metric.add_batch(scores=[[1, 2, 3]], positives=[[2]])
    metric.add_batch(scores=[[1, 2, 3, 4, 5]], positives=[[0]])
    result = metric.compute(ks=[1], return_items=True)
    assert result["items"]["rank"] == [1, 5]
    assert result["chance_at_1"] == pytest.approx((1 / 3 + 1 / 5) / 2)


def test_ks_reach_the_wrapper(metric):
    scores, positives, categories = random_queries(40, 20, 0)
    result = metric.compute(scores=scores, positives=positives, categories=categories, ks=np.array([2, 3]))
    assert result == reference(scores, positives, (2, 3), categories)


@pytest.mark.parametrize("ks", [(0,), [1, -1], 0, (1.5,), ["1"], [True], None])
def test_a_k_below_one_is_refused(ks):
    with pytest.raises(ValueError, match="ks holds .*: give whole numbers from 1"):
        retrieval_recall([[1, 2]], [[0]], ks)


@pytest.mark.parametrize(
    ("scores", "positives", "message"),
    [
        ([[1, 2], [1, 2]], [[0], []], r"Row 1 of positives is \[\]: a query needs a list of one or more"),
        ([[1, 2], [1, 2]], [0, 1], "Row 0 of positives is 0: a query needs a list"),
        ([[1, 2], [1, 2]], [[0], [1.0]], r"Row 1 of positives is \[1.0\]"),
        ([[1, 2], [1, 2]], [[0], [True]], r"Row 1 of positives is \[True\]"),
        ([[1, 2], [1, 2]], [[0], None], "Row 1 of positives is None"),
        ([[1, 2], [1, 2]], [[0], [0, 2]], "Row 1 of positives holds 2: there are 2 candidates, from 0"),
        ([[1, 2]] * 3, [[0], [4], [3]], "Row 1 of positives holds 4: there are 2 candidates, from 0"),
        ([[1, 2, 3]] * 3, [[0], [2, 2], [1, 1]], "Row 1 of positives holds 2 twice"),
        ([[1, 2], [1, 2]], [[-1], [0]], "Row 0 of positives holds -1"),
        ([[1, 2, 3], [1, 2, 3]], [[0], [1, 2, 1]], "Row 1 of positives holds 1 twice"),
        ([[1, 2], [1, 2, 3]], [[0], [0]], "scores must be .* got rows of different shapes"),
        ([[], []], [[0], [0]], "Row 0 of positives holds 0: there are 0 candidates"),
        ([[1, 2], [1, NAN]], [[0], [0]], r"Row 1 of scores is nan at \[1\]"),
    ],
)
def test_refuses_in_one_sentence_that_names_the_row(metric, scores, positives, message):
    for refuse in (retrieval_recall, lambda scores, positives: metric.compute(scores=scores, positives=positives)):
        with pytest.raises(ValueError, match=message) as error:
            refuse(scores, positives)
        assert "\n" not in str(error.value)


def test_scores_are_read_in_blocks(monkeypatch):
    assert 8 * module.BLOCK == 8 * 2**20  # bytes in float64
    seen, plain = [], module.finite_scores

    def finite_scores_seen(name, values, *rest):
        seen.append(len(values))
        return plain(name, values, *rest)

    monkeypatch.setattr(module, "finite_scores", finite_scores_seen)
    # 13 // 4 rows, and never less than one.
    for block, expected in ((13, [3, 2]), (3, [1] * 5)):
        seen.clear()
        monkeypatch.setattr(module, "BLOCK", block)
        ranked, _ = module._ranked(np.array([[1, 2, 3, 4]] * 5), [[3], [0], [3], [0], [3]], None)
        assert seen == expected and ranked[:, 0].tolist() == [1, 4, 1, 4, 1]


def test_what_is_stored_of_a_query_does_not_grow_with_the_pool(tmp_path):
    sizes = []
    for pool in (5, 2000):
        metric = RetrievalRecall(cache_dir=str(tmp_path / str(pool)))
        metric.add_batch(scores=np.random.default_rng(0).random((500, pool)), positives=[[0]] * 500)
        metric.writer.stream.flush()
        sizes += [sum(path.stat().st_size for path in (tmp_path / str(pool)).rglob("*.arrow"))]
    assert 0 < sizes[1] <= sizes[0]


def test_rows_are_counted_from_the_first_batch_on():
    """Row 1 of a batch that comes after 1 row is row 2."""
    with pytest.raises(ValueError, match=r"Row 2 of positives is \[\[1, 2\]\]: a query needs a list"):
        module._flat([[0], [[1, 2]]], 1)
    with pytest.raises(ValueError, match="Row 2 of positives holds 3 twice"):
        module._check_positives(np.array([0, 3, 3]), np.array([1, 2]), 5, 1)
    with pytest.raises(ValueError, match="Row 2 of positives holds 7: there are 5 candidates"):
        module._check_positives(np.array([0, 7]), np.array([1, 1]), 5, 1)
    with pytest.raises(ValueError, match="Row 2 of scores is nan"):
        module.finite_scores("scores", [1.0, NAN], (), "a list", 1)


def test_rows_of_all_blocks_are_counted(monkeypatch):
    """Row 1 of a batch that comes after 3 rows is row 4, also if it is a block of its own."""
    monkeypatch.setattr(module, "BLOCK", 1)
    scores = np.array([[1, 2], [1, float("nan")]])
    with pytest.raises(ValueError, match="Row 4 of scores is nan"):
        module._ranked(scores, [[0], [0]], None, 3)
