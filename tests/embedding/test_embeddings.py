"""The store of embeddings, without a model: every stored embedding is found again under its key."""

import os
import pickle

import numpy as np
import pytest
import torch

import conclip.embedding.store as embeddings
from conclip.atomic_write import WriteError
from conclip.embedding.store import EmbeddingStore, ShardWriter

DESCRIPTION = {"encoder": "none"}


def some(count: int, seed: int = 0) -> tuple[np.ndarray, torch.Tensor]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 16), np.uint8), torch.from_numpy(rng.normal(size=(count, 5))).float()


def fill(store: EmbeddingStore, keys: np.ndarray, embeds: torch.Tensor, at_a_time: int = 4) -> list[str]:
    with ShardWriter(store) as writer:
        for start in range(0, len(keys), at_a_time):
            writer.add(keys[start : start + at_a_time], embeds[start : start + at_a_time])
    return writer.names


def shards(store: EmbeddingStore) -> list:
    return sorted(store.folder.glob("shard-*"))


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "ITEMS_PER_SHARD", 8)
    return EmbeddingStore(tmp_path / "store", DESCRIPTION)


def test_rows_are_gathered_as_by_plain_indexing(store):
    keys, embeds = some(50)
    fill(store, keys, embeds)
    assert len(shards(store)) == 7
    # What processes lock that read the folder, and what its embeddings belong to.
    beside = [store.folder / name for name in (".readers", "meta.json")]
    assert sorted(store.folder.glob("*")) == [*beside, *shards(store)]
    order = np.random.default_rng(1).integers(0, 50, 120)
    found, plain = store.read(keys[order]), embeds[order]
    assert len(found) == 120 and found[:].dtype == torch.float32
    indices = [slice(None), slice(3, 90, 7), slice(5, 5), [], [7], [119, 0, 7, 7, -1], torch.arange(120).flip(0)]
    for index in [*indices, torch.zeros(0, dtype=torch.int64), np.array([4, 2]), 0, -3, np.int64(5), torch.tensor(9)]:
        assert torch.equal(found[index], plain[index]), index
    with pytest.raises(IndexError):
        found[120]


def test_pickled_it_names_its_shards_and_holds_no_data(store):
    keys, embeds = some(50)
    fill(store, keys, embeds.repeat(1, 100))
    found = store.read(keys)
    found[0]
    content = pickle.dumps(found)
    assert len(content) < 5_000
    assert torch.equal(pickle.loads(content)[:], embeds.repeat(1, 100))


def test_missing_are_the_distinct_keys_without_an_embedding(store):
    keys, embeds = some(10)
    assert store.missing(keys[:0])[0] == 0 and len(store.read(keys[:0])[:]) == 0
    fill(store, keys[:6], embeds[:6])
    wanted = keys[[9, 0, 8, 9, 8, 5, 7]]
    distinct, missing = store.missing(wanted)
    assert distinct == 5 and missing.tolist() == [0, 2, 6]
    assert store.read(wanted) is None
    fill(store, keys[6:], embeds[6:])
    assert store.missing(wanted)[1].tolist() == [] and torch.equal(
        store.read(wanted)[:], embeds[[9, 0, 8, 9, 8, 5, 7]]
    )


def test_keys_that_differ_in_one_byte_or_end_in_zeros_are_distinct(store):
    keys = np.zeros((17, 16), np.uint8)
    keys[1:, :] = 1
    keys[np.arange(1, 17), np.arange(16)] = 0
    embeds = torch.arange(17.0)[:, None]
    fill(store, keys[1:], embeds[1:])
    assert store.missing(keys)[1].tolist() == [0]
    assert torch.equal(store.read(keys[1:])[:], embeds[1:])


def test_two_writers_of_the_same_images_do_no_harm(store):
    keys, embeds = some(6)
    with ShardWriter(store) as first, ShardWriter(EmbeddingStore(store.folder, DESCRIPTION)) as second:
        first.add(keys, embeds)
        second.add(keys, embeds)
    assert len(shards(store)) == 2 and torch.equal(store.read(keys)[:], embeds)


def test_embeddings_added_before_an_error_are_written(store):
    keys, embeds = some(6)
    with pytest.raises(KeyboardInterrupt), ShardWriter(store) as writer:
        writer.add(keys, embeds)
        raise KeyboardInterrupt
    assert store.missing(keys)[1].tolist() == []


def test_slow_work_is_written_before_a_shard_is_full(store, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(embeddings.time, "monotonic", lambda: now[0])
    keys, embeds = some(6)
    with ShardWriter(store) as writer:
        for at, seconds in enumerate([0, 59, 61, 62, 120, 122]):
            now[0] = seconds
            writer.add(keys[at : at + 1], embeds[at : at + 1])
            assert len(writer.names) == (seconds > 60) + (seconds > 121)


def test_old_leftovers_of_killed_writers_are_removed(store):
    for name, age in (("unfinished-old", 25), ("unfinished-young", 23)):
        (store.folder / name).touch()
        os.utime(store.folder / name, (os.stat(store.folder).st_mtime - age * 3600,) * 2)
    fill(store, *some(1))
    assert [path.name for path in store.folder.glob("unfinished-*")] == ["unfinished-young"]


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def change(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage", [truncate, change, lambda path: path.write_bytes(b"")], ids=["truncated", "changed", "empty"]
)
def test_a_damaged_shard_is_set_aside_with_a_warning_and_its_images_are_missing(damage, store):
    keys, embeds = some(16)
    fill(store, keys, embeds)
    victim = shards(store)[0]
    lost = [at for at in range(16) if keys[at].tobytes() in victim.read_bytes()]
    damage(victim)
    with pytest.warns(UserWarning, match=f"{victim} is damaged .*; its contents are computed again.$") as warnings:
        assert store.missing(keys)[1].tolist() == lost and len(lost) == 8
    assert len(warnings) == 1 and not victim.exists() and victim.with_name(f"damaged-{victim.name}").exists()
    fill(store, keys[lost], embeds[lost])
    assert torch.equal(EmbeddingStore(store.folder, DESCRIPTION).read(keys)[:], embeds)


def test_shards_that_other_nodes_wrote_elsewhere_are_not_found(store):
    keys, embeds = some(4)
    names = fill(store, keys, embeds)
    assert store.read(keys, [*names, "shard-of-another-node.safetensors"]) is not None
    assert EmbeddingStore(store.folder.with_name("unshared"), DESCRIPTION).read(keys, names) is None


def test_a_full_disk_leaves_nothing_half_written(store, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    with pytest.raises(
        WriteError, match=rf"^cannot write to {store.folder}/shard-\w+\.safetensors \(No space left on device, "
    ):
        with ShardWriter(store) as writer:
            writer.add(*some(3))
            monkeypatch.setattr(os, "replace", full)
    assert sorted(path.name for path in store.folder.iterdir()) == [".readers", "meta.json"]
