"""Ready embeddings: columns of vectors, files of them, what they are equal to, and what is refused."""

import mmap
import os
import resource

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, List, Value

from conclip.embedding.embedding_column import EmbeddingColumn
from conclip.embedding.embedding_files import read_parts
from conclip.errors import UsageError

VECTORS = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
UNIT = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)


def columns_of(vectors, kind="float32", length=-1) -> Dataset:
    features = Features({"embeds": List(Value(kind), length=length)})
    return Dataset.from_dict({"embeds": [list(one) for one in vectors]}, features=features)


@pytest.mark.parametrize("length", [-1, 4])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_vectors_become_unit_rows(kind, length):
    stored = VECTORS.astype(kind)
    embeds = EmbeddingColumn(columns_of(stored, kind, length), "embeds", "train")
    expected = torch.nn.functional.normalize(torch.from_numpy(stored).double(), dim=1)
    torch.testing.assert_close(embeds[:].double(), expected, atol=1e-6, rtol=0)
    assert embeds[:].dtype == torch.float32
    torch.testing.assert_close(embeds[torch.tensor([4, 1])], embeds[:][[4, 1]], atol=0, rtol=0)
    assert torch.equal(embeds[2], embeds[:][2])


def test_unit_rows_keep_their_bits():
    unit = torch.nn.functional.normalize(torch.randn(500, 64, generator=torch.Generator().manual_seed(1)), dim=1)
    embeds = EmbeddingColumn(columns_of(unit.numpy()), "embeds", "train")
    assert torch.equal(embeds[:], unit)


def test_selected_rows_are_read_in_their_order():
    rows = columns_of(UNIT).select([5, 0, 3])
    assert torch.equal(EmbeddingColumn(rows, "embeds", "train")[:], torch.from_numpy(UNIT[[5, 0, 3]]))


def test_lists_of_vectors_are_one_sequence():
    lists = [UNIT[:2].tolist(), UNIT[2:3].tolist(), UNIT[3:6].tolist()]
    rows = Dataset.from_dict({"embeds": lists}, features=Features({"embeds": List(List(Value("float32")))})).select(
        [2, 0]
    )
    embeds = EmbeddingColumn(rows, "embeds", "train", rows=np.array([0, 0, 1]), places=np.array([0, 2, 1]))
    assert torch.equal(embeds[:], torch.from_numpy(UNIT[[3, 5, 1]]))


def test_numbers_point_into_the_parts_of_a_folder(tmp_path):
    np.save(tmp_path / "img_emb_0.npy", UNIT[:4])
    np.save(tmp_path / "img_emb_1.npy", UNIT[4:].astype(np.float16))
    rows = Dataset.from_dict({"at": [5, 0, 3, 4]})
    embeds = EmbeddingColumn(rows, "at", "train", read_parts(tmp_path))
    torch.testing.assert_close(embeds[:], torch.from_numpy(UNIT[[5, 0, 3, 4]]), atol=1e-3, rtol=0)
    assert torch.equal(embeds[[1, 2]], torch.from_numpy(UNIT[[0, 3]]))


def test_files_and_data_are_mapped_and_not_copied(tmp_path):
    np.save(tmp_path / "embeds.npy", UNIT)
    (part,) = read_parts(tmp_path / "embeds.npy")
    assert isinstance(part.base, mmap.mmap)
    embeds = EmbeddingColumn(Dataset.from_dict({"at": [1, 0]}), "at", "train", [part])
    assert embeds.parts[0] is part
    # Memory-mapped by `datasets`: the column is a view of the same memory.
    rows = columns_of(UNIT)
    rows.save_to_disk(tmp_path / "rows")
    rows = Dataset.load_from_disk(str(tmp_path / "rows"))
    values = rows.data.column("embeds").chunk(0).values.to_numpy()
    assert np.shares_memory(EmbeddingColumn(rows, "embeds", "train").parts[0], values)


def test_keys_are_equal_where_embeddings_are():
    vectors = [*VECTORS[:3], VECTORS[0], 2 * VECTORS[1]]
    keys = EmbeddingColumn(columns_of(vectors), "embeds", "train").keys()
    assert keys.shape == (5, 16) and keys.dtype == np.uint8
    assert len(np.unique(keys, axis=0)) == 3
    assert (keys[3] == keys[0]).all() and (keys[4] == keys[1]).all()


def changed(row: int, value) -> list:
    vectors = VECTORS.tolist()
    vectors[row] = value
    return vectors


@pytest.mark.parametrize(
    ("vectors", "says"),
    [
        (changed(3, [1.0, 2.0]), "row 3: embeds has not the 4 numbers of the first row"),
        (changed(2, None), "row 2: embeds is empty"),
        (changed(0, None), "row 0: embeds is empty"),
        (changed(2, [1.0, None, 0.0, 0.0]), "row 2: embeds lacks a number"),
        (changed(4, [0.0] * 4), "row 4: embeds is all zeros"),
        (changed(1, [float("nan")] * 4), "row 1: embeds is not finite"),
        (changed(5, [0.0, float("inf"), 0.0, 0.0]), "row 5: embeds is not finite"),
    ],
)
def test_bad_vectors_are_refused_with_their_row(vectors, says):
    rows = Dataset.from_dict({"embeds": vectors}, features=Features({"embeds": List(Value("float64"))}))
    with pytest.raises(UsageError, match=f"Split 'train', {says}"):
        EmbeddingColumn(rows, "embeds", "train").keys()


def test_a_bad_vector_in_a_list_is_named_by_the_row_of_the_list():
    lists = [VECTORS[:3].tolist(), [VECTORS[3].tolist(), [1.0]]]
    rows = Dataset.from_dict({"embeds": lists}, features=Features({"embeds": List(List(Value("float32")))}))
    with pytest.raises(UsageError, match="row 1: embeds has not the 4 numbers"):
        EmbeddingColumn(rows, "embeds", "train", rows=np.array([0, 1]), places=np.array([0, 0]))


def test_the_row_of_a_bad_vector_is_that_before_rows_were_selected():
    with pytest.raises(UsageError, match="row 4: embeds is all zeros"):
        EmbeddingColumn(columns_of(changed(4, [0.0] * 4)).select([0, 4]), "embeds", "train").keys()


@pytest.mark.parametrize("values", [["a"], [1], [[1]]])
def test_other_columns_are_refused(values):
    with pytest.raises(UsageError, match="has to hold embeddings, lists of floats"):
        EmbeddingColumn(Dataset.from_dict({"embeds": values}), "embeds", "train")


@pytest.mark.parametrize(
    ("values", "says"),
    [([0, 6], "row 1: at is 6"), ([-1], "row 0: at is -1"), ([0, None], "row 1: at is None"), ([0.5], "holds double")],
)
def test_numbers_outside_the_file_are_refused(values, says):
    with pytest.raises(UsageError, match=says):
        EmbeddingColumn(Dataset.from_dict({"at": values}), "at", "train", [VECTORS])


def test_another_width_than_the_models_is_refused():
    with pytest.raises(UsageError, match="embeddings of 4 numbers, but my-clip projects to 16"):
        EmbeddingColumn(columns_of(UNIT), "embeds", "train").require_width(16, "my-clip")


def test_more_parts_than_a_process_may_open_at_first(tmp_path, monkeypatch):
    for number in range(40):
        np.save(tmp_path / f"{number:02}.npy", np.full((1, 2), number, np.float32))
    allowed, opened = resource.getrlimit(resource.RLIMIT_NOFILE), {*map(int, os.listdir("/dev/fd"))}
    twenty_more = [number for number in range(10_000) if number not in opened][20]
    resource.setrlimit(resource.RLIMIT_NOFILE, (twenty_more, allowed[1]))
    try:
        assert [part[0, 0] for part in read_parts(tmp_path)] == [*range(40)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (twenty_more, allowed[1]))
        monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
        with pytest.raises(UsageError, match="npy cannot be opened: the system allows this process no more open"):
            read_parts(tmp_path)
    finally:
        monkeypatch.undo()
        resource.setrlimit(resource.RLIMIT_NOFILE, allowed)


def test_parts_of_different_widths_are_refused(tmp_path):
    np.save(tmp_path / "0.npy", UNIT)
    np.save(tmp_path / "1.npy", UNIT[:, :3])
    with pytest.raises(UsageError, match="1.npy holds embeddings of 3 numbers, but 0.npy of 4"):
        read_parts(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no .npy file"):
        read_parts(tmp_path / "empty")
