"""The search against a sort of all scores in float64, with ties, duplicates and rounding."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from embedding_pool import (
    TILES,
    assert_found,
    brute_force,
    cut_into_tiles,
    make_negated_phrases,
    make_pool,
    make_queries,
    make_texts,
    random_embeddings,
    unit,
)

from conclip.distractors import CaptionFilter, Distractors, find_distractors, merge_distractors, search
from conclip.distractors.search import Search
from conclip.errors import UsageError

ROOT = Path(__file__).parents[2]


queries = pytest.fixture(name="queries")(make_queries)
pool = pytest.fixture(name="pool")(make_pool)
tiles = pytest.fixture(name="tiles", params=TILES)(cut_into_tiles)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("k", [1, 3, 50])
@pytest.mark.parametrize("duplicate_similarity", [0.999, 0.4, None])
def test_equals_a_sort_of_all_scores(queries, pool, tiles, dtype, k, duplicate_similarity):
    options = {"duplicate_similarity": duplicate_similarity}
    queries, pool = queries.astype(dtype), pool.astype(dtype)
    expected = brute_force(queries, pool, k, **options)
    assert_found(find_distractors(queries, pool, k, **options), expected)


def test_never_itself_where_the_pool_is_the_queries(pool, tiles):
    expected = brute_force(pool, pool, 3, np.eye(len(pool), dtype=bool), duplicate_similarity=None)
    found = find_distractors(pool, pool, 3, duplicate_similarity=None)
    assert_found(found, expected)
    assert not (found[0] == np.arange(len(pool))[:, None]).any()
    # The copies of row 3 find each other, the lower index first; with a threshold they do not.
    assert found[0][3].tolist() == [300, 301, 302]
    assert found[0][300].tolist() == [3, 301, 302]
    without, scores, _ = find_distractors(pool, pool, 3)
    assert (scores < 0.999).all()
    assert not np.isin(without[300:340], [3, *range(300, 340)]).any()


@pytest.mark.parametrize("cuts", [(0, 400), (0, 1, 150, 399, 400)])
@pytest.mark.parametrize("with_captions", [False, True])
def test_parts_of_a_pool_merge_to_the_search_in_all_of_it(queries, pool, cuts, with_captions):
    texts, phrases = make_texts(), make_negated_phrases()
    caption_filter = CaptionFilter(texts, phrases) if with_captions else None
    whole, found = find_distractors(queries, pool, 3, caption_filter=caption_filter), []
    for part in map(slice, cuts, cuts[1:]):
        caption_filter = CaptionFilter(texts[part], phrases) if with_captions else None
        # A part may have fewer images than are asked for.
        few = find_distractors(queries, pool[part], min(3, len(pool[part])), caption_filter=caption_filter)
        gaps = [(0, 0), (0, 3 - few.indices.shape[1])]
        found.append(
            Distractors(
                np.pad(few.indices, gaps, constant_values=-1),
                np.pad(few.scores, gaps, constant_values=-np.inf),
                np.pad(few.negation_holds, gaps),
            )
        )
    merged = merge_distractors(found, cuts[:-1])
    for values, expected in zip(merged, whole, strict=True):
        np.testing.assert_array_equal(values, expected)
        assert values.dtype == expected.dtype


def test_parts_with_too_few_images_leave_gaps():
    one = Distractors(np.array([[0, -1]]), np.array([[0.5, -np.inf]], np.float32), np.array([[False, False]]))
    none = Distractors(np.array([[-1, -1]]), np.full((1, 2), -np.inf, np.float32), np.array([[False, False]]))
    assert merge_distractors([none, one], [5, 10]).indices.tolist() == [[10, -1]]
    assert merge_distractors([one, none], [5, 10]).indices.tolist() == [[5, -1]]


def test_images_of_one_key_do_not_find_each_other(queries, pool, tiles):
    rng = np.random.default_rng(4)
    pool_keys = rng.integers(0, 5, (400, 16), dtype=np.uint8)
    pool_keys[:, :15] = 0
    query_keys = pool_keys[200 : 200 + len(queries)].copy()
    # Nearly all of the pool shares five keys; zeros are not a key.
    assert (query_keys.any(axis=1)).sum() > 60 and (~query_keys.any(axis=1)).sum() > 5
    excluded = (query_keys[:, None] == pool_keys[None]).all(axis=2) & query_keys.any(axis=1)[:, None]
    found = find_distractors(queries, pool, 3, query_keys=query_keys, pool_keys=pool_keys)
    assert_found(found, brute_force(queries, pool, 3, excluded))


def test_only_what_is_allowed(queries, pool, tiles):
    may = np.random.default_rng(5).random((len(queries), 400)) < 0.1
    may[4] = False
    may[5, 2:] = False
    may[5, :2] = True
    all_rows = np.arange(len(queries))
    found = Search(queries, pool, 3).find(all_rows, lambda rows, start, stop: torch.from_numpy(may[rows, start:stop]))
    assert_found(found, brute_force(queries, pool, 3, ~may))
    assert found[0][4].tolist() == [-1, -1, -1] and found[0][5, 2] == -1


def test_rounding_of_the_product_does_not_decide(monkeypatch):
    """Scores that differ by less than the product errs; the product is made to err by nearly all it may."""
    near = random_embeddings(1, 0, 64) + 1e-6 * np.random.default_rng(1).normal(size=(500, 64))
    queries, pool = random_embeddings(1, 0, 64) + 0.2 * random_embeddings(40, 2, 64), unit(near)
    queries = unit(queries)
    noise = torch.Generator().manual_seed(3)
    product, error = search._product, Search(queries, pool, 3)._error
    assert error < 5e-6

    def with_error(*args):
        scores = product(*args)
        return scores.add_(0.9 * error * (2 * torch.rand(scores.shape, generator=noise) - 1))

    monkeypatch.setattr(search, "_product", with_error)
    assert_found(find_distractors(queries, pool, 3), brute_force(queries, pool, 3))
    # A threshold among scores that differ as little.
    threshold = float(np.median(brute_force(queries, pool, 500)[1][7]))
    options = {"duplicate_similarity": threshold}
    expected = brute_force(queries, pool, 3, **options)
    assert (expected[0][7] >= 0).all() and expected[1][7, 0] > threshold - 1e-5
    assert_found(find_distractors(queries, pool, 3, **options), expected)


def test_an_asked_for_bfloat16_product_is_not_used(queries, pool, monkeypatch):
    """Whether torch computes one depends on the processor, so the test reads the setting."""
    asked, product = [], search._product

    def noted(*args):
        asked.append(torch.get_float32_matmul_precision())
        return product(*args)

    monkeypatch.setattr(search, "_product", noted)
    torch.set_float32_matmul_precision("medium")
    try:
        find_distractors(queries, pool, 3)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert set(asked) == {"highest"}


def test_the_same_whatever_holds_the_rows(queries, pool, tmp_path):
    class Stored:
        """As embeddings in shards are: rows by slice or array, as tensors."""

        def __init__(self, rows):
            self.rows = rows

        def __len__(self):
            return len(self.rows)

        def __getitem__(self, index):
            return torch.from_numpy(self.rows[index].copy())

    np.save(tmp_path / "pool.npy", pool)
    expected = brute_force(queries, pool, 3)
    for rows in (
        np.load(tmp_path / "pool.npy", mmap_mode="r"),
        torch.from_numpy(pool),
        Stored(pool),
        pool[::-1][::-1],
    ):
        assert_found(find_distractors(queries, rows, 3), expected)
    assert_found(find_distractors(Stored(queries), Stored(pool), 3), expected)


PEAK = """
import resource, sys
import numpy as np
from conclip.distractors import find_distractors
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
rows = np.random.default_rng(0).normal(size=(12_000, 16)).astype(np.float32)
rows /= np.linalg.norm(rows, axis=1, keepdims=True)
find_distractors(rows[:100], rows[:100], 3)
before = peak()
find_distractors(rows, rows, 3)
print(peak() - before)
"""


def test_memory_is_bounded():
    """All scores at once would be 576 MB."""
    done = subprocess.run([sys.executable, "-c", PEAK], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 150e6


@pytest.mark.parametrize(
    ("queries", "pool", "options", "says"),
    [
        (random_embeddings(4, 0), random_embeddings(5, 0, 20), {}, "queries have 24 dimensions and the pool has 20"),
        (
            random_embeddings(4, 0) * [[1], [1], [0.5], [1]],
            random_embeddings(5, 0),
            {},
            "Row 2 of the queries has length 0.5 ",
        ),
        (
            random_embeddings(4, 0),
            random_embeddings(5, 0) * [[1], [1], [1], [1], [np.nan]],
            {},
            "Row 4 of the pool has length nan",
        ),
        (random_embeddings(4, 0), np.zeros((0, 24), np.float32), {}, "There are no embeddings in the pool"),
        (random_embeddings(4, 0)[0], random_embeddings(5, 0), {}, "must be embeddings"),
        (
            random_embeddings(4, 0),
            random_embeddings(5, 0),
            {"top_k": 6},
            "6 distractors cannot be found in a pool of 5 images",
        ),
        (
            random_embeddings(4, 0),
            random_embeddings(5, 0),
            {"top_k": 0},
            "0 distractors cannot be found in a pool of 5 images",
        ),
        (
            random_embeddings(4, 0),
            random_embeddings(5, 0),
            {"query_keys": np.zeros((3, 16), np.uint8)},
            "keys of the queries must be uint8",
        ),
    ],
)
def test_refuses(queries, pool, options, says):
    with pytest.raises(UsageError, match=says):
        find_distractors(queries, pool, **options)
