"""Counts of parts of the captions add up to those of all, in any order and grouping, and as JSON."""

import random
from collections import Counter
from functools import reduce
from itertools import combinations
from operator import add

import numpy as np
import pytest
from noun_counts import pair_counts

from conclip.errors import UsageError
from conclip.negation.lexicon import counts as module
from conclip.negation.lexicon.absent import AbsentNouns
from conclip.negation.lexicon.counts import NameCounts, PairCounts

LISTS = [["dog", "ball"], ["dog"], ["cat", "ball", "dog"], [], ["cat", "ball"]]
NAMES = ["dog", "man", "ball", "tree", "car", "hat", "kite", "bench", "piano", "sea"]
MANY = [random.Random(row).sample(NAMES, row % 4) for row in range(200)]


def parts(count: int) -> list[tuple[int, list[list[str]]]]:
    """Pieces of `MANY` of different sizes, shuffled: the number of the first caption, and the lists."""
    rng = random.Random(count)
    cuts = [0, *sorted(rng.sample(range(1, len(MANY)), count - 1)), len(MANY)]
    cut = [(first, MANY[first:last]) for first, last in zip(cuts, cuts[1:], strict=False)]
    return rng.sample(cut, count)


def tree(values: list):
    """Add neighbours until one is left."""
    while len(values) > 1:
        values = [reduce(add, values[at : at + 2]) for at in range(0, len(values), 2)]
    return values[0]


def test_counts_are_those_of_a_loop():
    counted = NameCounts.count(LISTS)
    assert counted == NameCounts(5, Counter({"dog": 3, "ball": 3, "cat": 2}))
    assert list(counted.commonest().names.items()) == [("ball", 3), ("dog", 3), ("cat", 2)]
    assert counted.commonest(2) == NameCounts(5, Counter({"ball": 3, "dog": 3}))
    # Rows: ball, dog, cat.
    assert pair_counts(LISTS).pairs.tolist() == [[0, 2, 2], [2, 0, 1], [2, 1, 0]]
    assert pair_counts(LISTS, counted.commonest(2)).pairs.tolist() == [[0, 2], [2, 0]]
    pairs = Counter(pair for nouns in MANY for pair in combinations(sorted(nouns), 2))
    found = pair_counts(MANY)
    at = {name: number for number, name in enumerate(found.names.names)}
    assert all(found.pairs[at[one], at[other]] == count for (one, other), count in pairs.items())
    assert found.pairs.sum() == 2 * pairs.total()
    assert found != PairCounts(found.names, 2 * found.pairs, found.sample)
    assert all(map(counted.is_sampled, range(5)))


@pytest.mark.parametrize("count", [2, 7, 40])
@pytest.mark.parametrize("merge", [tree, lambda values: reduce(add, values)], ids=["tree", "one after the other"])
def test_parts_add_up_in_any_order_and_grouping(count, merge, monkeypatch):
    monkeypatch.setattr(module, "FITTED", 20)
    whole = NameCounts.count(MANY)
    names = merge([NameCounts.count(lists) for _, lists in parts(count)])
    assert names == whole == NameCounts.from_json(names.to_json())
    pairs = merge([pair_counts(lists, names.commonest(), first) for first, lists in parts(count)])
    assert pairs == pair_counts(MANY) == PairCounts.from_json(pairs.to_json())
    assert list(pairs.names.names) == list(whole.commonest().names)
    # Every tenth of 200 captions.
    assert [number for number, *_ in pairs.sample] == list(range(0, 200, 10))
    one, other = AbsentNouns.of_counts(pairs), AbsentNouns.of_counts(pair_counts(MANY))
    assert one.names == other.names and (one.scale == other.scale).all() and (one.lift == other.lift).all()


def test_a_part_changes_neither_of_two_that_are_added():
    one, other = NameCounts.count(LISTS), NameCounts.count([["dog"], ["sea"]])
    assert (one + other).names["dog"] == 4 and one == NameCounts.count(LISTS) and other.captions == 2
    assert NameCounts() + one == one == one + NameCounts()


def test_the_sample_is_small_whatever_the_numbers(monkeypatch):
    monkeypatch.setattr(module, "FITTED", 4)
    names = NameCounts.count(MANY).commonest()
    rows = [(50 * number, nouns, (["a"], ["b"])) for number, nouns in enumerate(MANY)]
    every = PairCounts.count(names, rows)
    # The lowest 8 of the 200 that are multiples of 50.
    assert [number for number, *_ in every.sample] == [0, 50, 100, 150, 200, 250, 300, 350]
    assert PairCounts.count(names, rows[100:]) + PairCounts.count(names, rows[:100]) == every
    # The same number twice.
    twice = [PairCounts.count(names, [(0, [name], ([name], []))]) for name in ("dog", "ball")]
    assert twice[0] + twice[1] == twice[1] + twice[0] and len((twice[0] + twice[1]).sample) == 2


def test_what_cannot_be_counted_is_refused(monkeypatch):
    one = pair_counts(LISTS)
    with pytest.raises(UsageError, match="of pairs of different names"):
        one + pair_counts(LISTS[:2])
    reordered = NameCounts(5, Counter({"dog": 3, "ball": 3, "cat": 2}))
    with pytest.raises(UsageError, match="of pairs of different names"):
        one + pair_counts(LISTS, reordered)
    with pytest.raises(UsageError, match="none of the 5 captions has a number"):
        AbsentNouns.of_counts(PairCounts(one.names, one.pairs))
    assert AbsentNouns.of_counts(pair_counts([])).names == []


NAME_TEXTS = ["", "[]", '{"captions": 1}', '{"captions": -1, "names": {}}', '{"captions": 1, "names": {"a": "b"}}']
PAIR_TEXTS = [
    *("", "[]", '{"captions": 1, "names": [["a", 1]], "pairs": []}'),
    '{"captions": 1, "names": [["a", 1]], "pairs": [[0, 1, 1]], "sample": []}',
    '{"captions": 1, "names": [["a", 1], ["b", 1]], "pairs": [[0, -1, 1]], "sample": []}',
    '{"captions": 1, "names": [["a", 1], ["b", 1]], "pairs": [[0, 1, 1e99]], "sample": []}',
    '{"captions": 1, "names": [["a", 1]], "pairs": [], "sample": [[0, [1], [], []]]}',
    f'{{"captions": 1, "names": [["a", 1], ["b", 1]], "pairs": [[0, 1, {2**70}]], "sample": []}}',
]


@pytest.mark.parametrize(
    ("kind", "text"), [*((NameCounts, text) for text in NAME_TEXTS), *((PairCounts, text) for text in PAIR_TEXTS)]
)
def test_other_json_is_refused(kind, text):
    with pytest.raises(
        UsageError,
        match=r"no counts of (names|pairs), as `(Name|Pair)Counts\.to_json` writes them: count them again\.",
    ):
        kind.from_json(text)


def test_pairs_are_stored_once():
    content = pair_counts(LISTS).to_json()
    assert '"pairs": [[0, 1, 2], [0, 2, 2], [1, 2, 1]]' in content
    assert np.array_equal(PairCounts.from_json(content).pairs, pair_counts(LISTS).pairs)
