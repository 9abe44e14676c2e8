"""No batch of all processes holds an image or a text twice, and the batches are those of a plain shuffle otherwise."""

from collections import Counter

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard, SeedableRandomSampler, SkipBatchSampler

from conclip.training import batches as batches_module
from conclip.training.batches import (
    NO_KEY,
    DistinctBatches,
    better_batches,
    move,
    number_shared_keys,
    repeats,
    separate,
)


class Rows:
    """What `DistinctBatches` reads of `PairRows`: the keys of each epoch, and the epoch."""

    def __init__(self, *keys_of_epochs: np.ndarray):
        self.keys_of_epochs, self.epoch = [keys.astype(np.uint64) for keys in keys_of_epochs], 0

    def __len__(self) -> int:
        return len(self.keys_of_epochs[0])

    def keys(self) -> np.ndarray:
        return self.keys_of_epochs[self.epoch % len(self.keys_of_epochs)]


def sampler(rows: Rows, batch_size: int, num_processes: int = 1, seed: int = 0, report=pytest.fail) -> DistinctBatches:
    return DistinctBatches(rows, batch_size, num_processes, seed, report)


def distinct(count: int, columns: int) -> np.ndarray:
    return np.arange(10**6, 10**6 + count * columns).reshape(count, columns)


def repeated(count: int, seed: int) -> np.ndarray:
    """Keys of caption, image, negated caption and distractor; many are in several rows, some in two roles."""
    rng, keys = np.random.default_rng(seed), distinct(count, 4)
    keys[:, 1] = rng.integers(0, count // 3, count)
    keys[:, 3] = rng.zipf(1.6, count).clip(max=count) + rng.integers(0, count // 4, count)
    some = rng.random(count) < 0.3
    keys[some, 2] = rng.choice(keys[:, 0], some.sum())
    return keys


def rows_that_clash(batch: list[int], keys: np.ndarray) -> int:
    """By a loop: rows that hold a key of an earlier row of the batch."""
    seen, clashes = set(), 0
    for row in batch:
        own = set(keys[row].tolist())
        clashes += bool(own & seen)
        seen |= own
    return clashes


def numbered(*keys: list[int]) -> np.ndarray:
    return np.array(keys, np.int64)


def test_by_hand_a_row_changes_places_with_one_of_the_next_batch():
    keys = numbered([7], [7], [NO_KEY], [NO_KEY], [NO_KEY], [NO_KEY])
    assert separate(np.arange(6), keys, 2).tolist() == [[0, 2], [1, 3], [4, 5]]
    # Both rows of the next batch hold 7 or 8: the first that can leave for the batch of row 0 is row 3.
    keys = numbered([7, 8], [7, NO_KEY], [8, NO_KEY], [9, NO_KEY], [9, NO_KEY], [NO_KEY, NO_KEY])
    assert separate(np.arange(6), keys, 2).tolist() == [[0, 3], [2, 1], [4, 5]]


def test_by_hand_a_batch_that_holds_the_key_is_passed_over():
    keys = numbered([7], [7], [7], [NO_KEY], [NO_KEY], [NO_KEY])
    assert separate(np.arange(6), keys, 2).tolist() == [[0, 4], [2, 3], [1, 5]]


def test_by_hand_a_row_stays_if_the_other_one_has_left():
    keys = numbered([7, NO_KEY], [7, 8], [8, NO_KEY], *([[NO_KEY, NO_KEY]] * 6))
    assert separate(np.arange(9), keys, 3).tolist() == [[0, 3, 2], [1, 4, 5], [6, 7, 8]]


def test_by_hand_a_batch_is_open_to_a_key_that_has_left_it():
    """Row 2 leaves the second batch, which then has room for row 5."""
    keys = numbered([7], [7], [8], [NO_KEY], [8], [8])
    assert separate(np.arange(6), keys, 2).tolist() == [[0, 2], [5, 3], [4, 1]]


def test_by_hand_the_last_resort_are_the_rows_that_fill_no_batch():
    assert separate(np.arange(3), numbered([7], [7], [NO_KEY]), 2).tolist() == [[0, 2]]
    assert separate(np.arange(3), numbered([7], [7], [7]), 2).tolist() == [[0, 1]], "no row fits: it stays"


@pytest.mark.parametrize(("tries", "expected"), [(1, [[0, 1, 2], [6, 7, 8]]), (2, [[0, 1, 7], [6, 2, 8]])])
def test_by_hand_so_many_batches_without_a_partner_end_the_search(monkeypatch, tries, expected):
    """Row 2 cannot stay beside row 0. Each row of the second batch shares something with row 0 or 1."""
    monkeypatch.setattr(batches_module, "TRIES_A_BATCH", tries)
    first = [[0, 5], [3, 8], [0, NO_KEY]]
    keys = numbered(*first, [NO_KEY, 5], [3, NO_KEY], [NO_KEY, 8], [NO_KEY, 5], [NO_KEY] * 2, [NO_KEY] * 2)
    assert separate(np.arange(9), keys, 3).tolist() == [expected[0], [3, 4, 5], expected[1]]


def test_by_hand_the_last_resort_is_open_when_the_search_of_batches_has_ended(monkeypatch):
    """Row 1 finds no partner in the second batch, and each batch holds the 9 of row 3."""
    monkeypatch.setattr(batches_module, "TRIES_A_BATCH", 1)
    first, second = [[0, 5], [0, NO_KEY], [9, 6], [9, 7]], [[NO_KEY, 5], [9, NO_KEY], [6, NO_KEY], [7, NO_KEY]]
    keys = numbered(*first, *second, [9, NO_KEY], *([[NO_KEY] * 2] * 4))
    assert separate(np.arange(13), keys, 4).tolist() == [[0, 1, 2, 12], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_by_hand_batches_are_open_when_the_last_resort_has_failed(monkeypatch):
    """All batches and the left-over row hold the 9 of row 1; row 3 changes places with row 5."""
    monkeypatch.setattr(batches_module, "TRIES_A_BATCH", 1)
    keys = numbered([9], [9], [0], [0], [9], [NO_KEY], [NO_KEY], [NO_KEY], [9])
    assert separate(np.arange(9), keys, 4).tolist() == [[0, 1, 2, 5], [4, 3, 6, 7]]


def test_keys_of_one_row_alone_are_no_keys():
    keys = np.array([[5, 1, 5], [2, 1, 3], [3, 4, 6], [9, 9, 9]], np.uint64)
    numbers = number_shared_keys(keys)
    assert (numbers == NO_KEY).tolist() == [[True, False, True], [True, False, False], [False, True, True], [True] * 3]
    assert numbers[0, 1] == numbers[1, 1] and numbers[1, 2] == numbers[2, 0] != numbers[0, 1]
    for seed in range(20):
        keys = repeated(60, seed)
        holders = Counter(key for row in keys.tolist() for key in set(row))
        numbers = number_shared_keys(keys)
        for row, own in zip(keys.tolist(), numbers.tolist(), strict=True):
            assert {key for key, number in zip(row, own, strict=True) if number != NO_KEY} == {
                key for key in row if holders[key] > 1
            }
        pairs = {pair for pair in zip(keys.ravel().tolist(), numbers.ravel().tolist(), strict=True) if pair[1] >= 0}
        assert len(pairs) == len({key for key, _ in pairs}) == len({number for _, number in pairs})


def test_repeats_are_those_of_a_loop():
    for seed in range(20):
        keys = number_shared_keys(repeated(60, seed))
        batches = np.random.default_rng(seed).permutation(60).reshape(6, 10)
        for batch, found in zip(batches.tolist(), repeats(keys[batches]).tolist(), strict=True):
            for at, row in enumerate(batch):
                earlier = {key for other in batch[:at] for key in keys[other].tolist()} - {NO_KEY}
                assert found[at] == bool(earlier & set(keys[row].tolist()))


@pytest.mark.parametrize("columns", [0, 3])
def test_without_equal_keys_the_batches_are_those_of_accelerates_shuffle(columns):
    """So runs on data without duplicates repeat those of earlier versions."""
    rows = Rows(distinct(53, columns))
    expected = SeedableRandomSampler(range(53), data_seed=9, generator=torch.Generator())
    for epoch in range(3):
        rows.epoch = epoch
        expected.set_epoch(epoch)
        order = list(expected)
        found = sampler(rows, batch_size=4, num_processes=2, seed=9)
        assert list(found) == [order[at : at + 4] for at in range(0, 48, 4)]
        assert len(found) == 12


@pytest.mark.parametrize("seed", range(40))
def test_no_batch_of_all_processes_holds_a_key_twice(seed):
    """Keys change with the epoch, as drawn captions do; every row is in at most one batch of an epoch."""
    rows = Rows(repeated(403, 2 * seed), repeated(403, 2 * seed + 1))
    for epoch in range(2):
        rows.epoch = epoch
        parts = list(sampler(rows, batch_size=4, num_processes=2, seed=seed))
        batches = [first + second for first, second in zip(parts[::2], parts[1::2], strict=True)]
        assert len(batches) == 50 and {len(batch) for batch in batches} == {8}
        assert len({row for batch in batches for row in batch}) == 400
        assert not any(rows_that_clash(batch, rows.keys()) for batch in batches)
        order = torch.randperm(403, generator=torch.Generator().manual_seed(seed + epoch)).tolist()
        plain = [order[at : at + 8] for at in range(0, 400, 8)]
        clashing = sum(rows_that_clash(batch, rows.keys()) for batch in plain)
        moved = sum(a != b for new, old in zip(batches, plain, strict=True) for a, b in zip(new, old, strict=True))
        assert 0 < clashing <= moved <= 2 * clashing


def test_ranks_and_a_resumed_epoch_agree():
    """Each rank and each resumption makes its own sampler; accelerate gives a rank its parts, and skips those read."""
    rows = Rows(repeated(200, 0), repeated(200, 1))
    rows.epoch = 1
    whole = list(sampler(rows, batch_size=4, num_processes=2, seed=3))
    ranks = [BatchSamplerShard(sampler(rows, 4, 2, seed=3), num_processes=2, process_index=rank) for rank in (0, 1)]
    assert [list(rank) for rank in ranks] == [whole[::2], whole[1::2]] and len(ranks[0]) == len(ranks[1]) == 25
    assert [list(SkipBatchSampler(rank, 5)) for rank in ranks] == [whole[10::2], whole[11::2]]
    assert whole != list(sampler(rows, batch_size=4, num_processes=2, seed=4))


def test_too_few_different_rows_are_told_once_with_numbers():
    """40 captions of 8 images in batches of 10: two rows of each batch have to be the second of their image."""
    keys, said = distinct(42, 2), []
    keys[:, 0] = np.arange(42) % 8
    rows = Rows(keys)
    found = sampler(rows, batch_size=5, num_processes=2, report=said.append)
    for epoch in (5, 6):
        rows.epoch = epoch
        parts = list(found)
        assert len({row for part in parts for row in part}) == 40
        clashes = sum(
            rows_that_clash([*first, *second], keys) for first, second in zip(parts[::2], parts[1::2], strict=True)
        )
        assert 8 <= clashes < 15
        if epoch == 5:
            expected = f"Warning: {clashes} of 40 rows of epoch 6 share an image or a text with an earlier row"
    assert len(said) == 1 and said[0].startswith(expected)
    assert "in 6 rows, and an epoch has 4 batches of 10 rows" in said[0]


def test_what_can_be_kept_apart_is_so_beside_a_key_that_cannot():
    """A distractor of half of the rows leaves the repeated images of the others apart."""
    keys, rng = distinct(400, 2), np.random.default_rng(0)
    keys[:200, 0] = 7
    keys[:, 1] = rng.permutation(np.repeat(np.arange(100, 200), 4))
    said = []
    batches = list(sampler(Rows(keys), batch_size=10, report=said.append))
    assert not any(rows_that_clash(batch, keys[:, 1:]) for batch in batches)
    assert sum(rows_that_clash(batch, keys) for batch in batches) == 200 - 40 and len(said) == 1


def test_equal_keys_in_different_batches_are_no_repeats():
    keys = np.array([[[1], [NO_KEY]], [[NO_KEY], [NO_KEY]], [[0], [0]]])
    assert repeats(keys).tolist() == [[False, False], [False, False], [False, True]]
    assert not repeats(np.array([[[0], [NO_KEY]], [[0], [NO_KEY]]])).any()


@pytest.mark.parametrize(
    ("own", "clashes", "held", "batch", "expected"),
    [
        # Batch 2 holds it not; 4 stands for the rows that fill no batch.
        ([7], 1, {7: [0, 1, 3]}, 0, [2, 4]),
        # Those after its own come first.
        ([7], 1, {7: [1]}, 1, [2, 3, 0, 4]),
        ([7], 1, {7: [2]}, 2, [3, 0, 1, 4]),
        # Of two keys, first the batches that hold none of them, then those that hold one, each once.
        ([7, 8], 2, {7: [1, 2], 8: [1, 3]}, 1, [0, 2, 3, 4]),
        # Every batch holds it.
        ([7], 1, {7: [0, 1, 2, 3]}, 1, [4]),
        # Some batches and the left-over rows.
        ([7], 1, {7: [0, 4]}, 0, [1, 2, 3, 4]),
        ([7], 1, {7: [0, 1, 4]}, 0, [2, 3, 4]),
        ([7], 1, {7: [0, 1, 2, 4]}, 0, [3, 4]),
        ([7], 0, {7: [0]}, 0, []),
    ],
)
def test_batches_that_are_better_for_a_row(own, clashes, held, batch, expected):
    holders = {key: Counter(batches) for key, batches in held.items()}
    assert list(better_batches(own, clashes, holders, batch, 4)) == expected


def test_of_an_odd_number_of_batches_none_is_left_out():
    assert list(better_batches([7], 1, {7: Counter([0, 1, 3])}, 0, 3)) == [2, 3]
    assert list(better_batches([7], 1, {7: Counter([0, 3])}, 0, 3)) == [1, 2, 3]


def test_a_row_that_moves_is_counted_in_its_new_batch():
    holders = {7: Counter({0: 2, 1: 1}), 8: Counter({0: 1})}
    move(holders, [7, 8, 9], 0, 1)
    assert holders == {7: Counter({0: 1, 1: 2}), 8: Counter({1: 1})}
    move(holders, [7], 0, 2)
    assert holders[7] == Counter({1: 2, 2: 1}) and 0 not in holders[7]
