"""Embeddings with ties and duplicates, texts of their images, and what a search must find, computed the slow way."""

import numpy as np

from conclip.distractors import search as module
from conclip.distractors.caption_filter import head_of, negation_holds

TILES = ["one tile", "many tiles"]


def unit(rows) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def random_embeddings(count: int, seed: int, dimensions: int = 24) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, dimensions)))


def make_queries():
    return np.concatenate([random_embeddings(90, 1), random_embeddings(400, 2)[:7]])


def make_pool():
    """Row 3 occurs 41 times, rows 99 to 102 are equal, 5 is almost 6; the last 7 queries are rows 0 to 6."""
    rows = random_embeddings(400, 2)
    rows[300:340], rows[100:103] = rows[3], rows[99]
    rows[5] = unit(rows[6:7] + 0.003 * random_embeddings(1, 3))
    return rows


def cut_into_tiles(request, monkeypatch):
    """Body of a fixture with the parameters `TILES`."""
    if request.param == "many tiles":
        for name, size in {"ROWS_PER_BLOCK": 30, "COLUMNS_PER_TILE": 64, "PAIRS_AT_A_TIME": 50}.items():
            monkeypatch.setattr(module, name, size)


def brute_force(queries, pool, k, excluded=None, duplicate_similarity=0.999):
    """All scores, sorted: the lower index first among equals."""
    scores = (queries.astype(np.float64) @ pool.astype(np.float64).T).astype(np.float32)
    if duplicate_similarity is not None:
        scores[scores >= np.float32(duplicate_similarity)] = -np.inf
    if excluded is not None:
        scores[excluded] = -np.inf
    indices = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    scores = np.take_along_axis(scores, indices, axis=1)
    return np.where(np.isinf(scores), -1, indices), scores


def assert_found(found, expected):
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    assert (found[0].dtype, found[1].dtype) == (np.int64, np.float32)


WORDS = ("dog", "dogs", "ball", "men", "man", "boxes", "box", "lake")


def make_texts():
    rng = np.random.default_rng(6)
    return [[" ".join(rng.choice(WORDS, 2)) for _ in range(rng.integers(0, 3))] for _ in range(400)]


def make_negated_phrases():
    rng = np.random.default_rng(7)
    return [[["the dog"], ["a red ball", "boxes"], [""], [], ["a man"]][rng.integers(5)] for _ in range(97)]


def expected_with_filter(queries, pool, texts, negated_phrases, k):
    """One query at a time: the images of which the negation holds by rank, then the most similar others by rank."""
    expected = []
    for row, query in enumerate(queries):
        ranked = brute_force(query[None], pool, len(pool))[0][0]
        ranked = ranked[ranked >= 0].tolist()
        negates = any(map(head_of, negated_phrases[row]))
        fitting = [image for image in ranked if negates and negation_holds(texts[image], negated_phrases[row])][:k]
        others = [image for image in ranked if image not in fitting][: k - len(fitting)]
        expected.append((fitting + others, [True] * len(fitting) + [False] * len(others)))
    return [np.array(part) for part in zip(*expected, strict=True)]
