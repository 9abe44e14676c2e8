"""Keys of images and the index that keeps them: equal for equal bytes, read without decoding, never out of date."""

import io
import os

import datasets
import numpy as np
import pyarrow.parquet
import pytest
import xxhash
from PIL import Image

from conclip.embedding.image_hashes import StoredImages, load_index, save_index

FEATURES = datasets.Features({"image": datasets.Image(), "distractors": datasets.Sequence(datasets.Image())})


def png(color) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(file, "PNG")
    return file.getvalue()


def rows(count: int = 30) -> datasets.Dataset:
    """Three colours; every fourth row has a missing image, and row r has r % 3 + 1 distractors."""
    colors = [png(color) for color in ("red", "green", "blue")]
    return datasets.Dataset.from_list(
        [
            {
                "image": None if row % 4 == 3 else {"bytes": colors[row % 3]},
                "distractors": [{"bytes": colors[(row + at) % 3]} for at in range(row % 3 + 1)],
            }
            for row in range(count)
        ],
        features=FEATURES,
    )


@pytest.mark.parametrize("select", [None, range(5, 25), [3, 9, 2, 17, 0]], ids=str)
def test_keys_are_hashes_of_the_encoded_bytes(select, monkeypatch):
    monkeypatch.setattr("conclip.embedding.image_hashes.ROWS_AT_A_TIME", 7)
    dataset = datasets.concatenate_datasets([rows(13), rows(17)])
    dataset = dataset if select is None else dataset.select(select)
    values = dataset.with_format("arrow")[:]["image"].to_pylist()
    seed = xxhash.xxh32_intdigest(b"")
    plain = [bytes(16) if value is None else xxhash.xxh3_128_digest(value["bytes"], seed) for value in values]
    stored = StoredImages(dataset, "image", np.arange(len(dataset)))
    assert [key.tobytes() for key in stored.keys()] == plain
    cut = len(dataset) // 3
    assert np.array_equal(
        np.concatenate([stored.keys(0, cut), stored.keys(cut, cut), stored.keys(cut)]), stored.keys()
    )


def test_keys_in_lists(monkeypatch):
    monkeypatch.setattr("conclip.embedding.image_hashes.ROWS_AT_A_TIME", 7)
    dataset = rows().select(range(4, 30))
    lists = dataset.with_format("arrow")[:]["distractors"].to_pylist()
    at = [(row, place) for row, images in enumerate(lists) if row % 5 for place in range(len(images))]
    stored = StoredImages(dataset, "distractors", *map(np.array, zip(*at, strict=True)))
    seed = xxhash.xxh32_intdigest(b"")
    plain = [xxhash.xxh3_128_digest(lists[row][place]["bytes"], seed) for row, place in at]
    assert [key.tobytes() for key in stored.keys()] == plain


def test_a_file_has_the_key_of_its_bytes_and_another_mode_another(tmp_path):
    (tmp_path / "red.png").write_bytes(png("red"))
    values = [{"bytes": png("red")}, {"path": str(tmp_path / "red.png")}, {"path": str(tmp_path / "none.png")}]
    dataset = datasets.Dataset.from_dict({"image": values}, features=datasets.Features({"image": datasets.Image()}))
    keys = StoredImages(dataset, "image", np.arange(3)).keys()
    assert np.array_equal(keys[0], keys[1]) and not keys[2].any()
    gray = dataset.cast_column("image", datasets.Image(mode="L"))
    assert not np.array_equal(StoredImages(gray, "image", np.arange(3)).keys()[0], keys[0])


def test_no_key_for_what_is_no_image():
    dataset = datasets.Dataset.from_dict({"text": ["a", "b"], "lists": [["a"], ["b"]]})
    assert not StoredImages(dataset, "text", np.arange(2)).keys().any()
    assert not StoredImages(dataset, "lists", np.arange(2), np.zeros(2, np.int64)).keys().any()
    assert not StoredImages(rows(2), "distractors", np.arange(2)).keys().any()


def test_an_index_is_found_again_for_the_same_images_only(tmp_path):
    file = tmp_path / "red.png"
    file.write_bytes(png("red"))
    values = [{"bytes": png("red")}, {"bytes": None, "path": str(file)}]
    features = datasets.Features({**FEATURES, "same": datasets.Image()})
    columns = {"image": values, "same": values, "distractors": [values, values[:1] * 2]}
    dataset = datasets.Dataset.from_dict(columns, features=features)
    # Not to_parquet, which puts the files' bytes in.
    pyarrow.parquet.write_table(dataset.data.table, tmp_path / "train.parquet")

    def index(column="image", rows=(0, 1), places=None):
        loaded = datasets.load_dataset(str(tmp_path), data_files="train.parquet", split="train")
        places = None if places is None else np.array(places)
        return StoredImages(loaded, column, np.array(rows), places).index_path(tmp_path)

    assert StoredImages(dataset, "image", np.arange(2)).index_path(tmp_path) is None, "nothing on disk to tell it by"
    first, alone = index(), index(rows=[0])
    assert first == index() and len({first, alone, index("same"), index(rows=[1])}) == 4
    assert index("distractors", [1], [0]) not in (None, index("distractors", [1], [1]))
    file.write_bytes(png("blue"))
    os.utime(file, (1, 1))
    changed = index()
    assert changed not in (None, first) and index(rows=[0]) == alone
    os.utime(file, (2, 2))
    assert index() not in (first, changed)
    file.unlink()
    assert index() is None
    (arrow,) = datasets.load_dataset(str(tmp_path), data_files="train.parquet", split="train").cache_files
    os.utime(arrow["filename"], (1, 1))
    assert index(rows=[0]) not in (None, alone), "prepared anew"


def test_an_index_that_is_damaged_or_holds_unread_images_is_not_used(tmp_path):
    path, keys = tmp_path / "indexes/some.safetensors", np.random.default_rng(0).integers(1, 256, (5, 16), np.uint8)
    assert load_index(path, 5) is None and load_index(None, 5) is None
    save_index(path, np.concatenate([keys, np.zeros((1, 16), np.uint8)]))
    assert not path.exists()
    save_index(path, keys)
    assert np.array_equal(load_index(path, 5), keys) and load_index(path, 6) is None
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert load_index(path, 5) is None
    path.write_bytes(content[:-1])
    assert load_index(path, 5) is None
