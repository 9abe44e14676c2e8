"""The index of a folder: the nearest rows, and what is written and read."""

import numpy as np
import pytest

from conclip.search.index import ImageFile, Index, read_index, write_index

FILES = [ImageFile(f"{row}.png", row, row) for row in range(40)]


@pytest.mark.parametrize("top", [1, 2, 7, 39, 40, 100])
def test_the_nearest_rows_with_ties_in_order(top):
    # Integers: sums are exact, and many scores are equal.
    embeds = np.random.default_rng(0).integers(-2, 3, (40, 3)).astype(np.float32)
    query = np.array([1, 2, -1], np.float32)
    scores = [sum(a * b for a, b in zip(row, query.tolist(), strict=True)) for row in embeds.tolist()]
    expected = sorted(enumerate(scores), key=lambda pair: (-pair[1], pair[0]))[:top]
    assert len({*scores}) < 20
    assert Index(FILES, embeds).best(query, top) == expected


def test_an_index_is_read_as_it_was_written(tmp_path):
    model = {"files": {str(tmp_path / "config.json"): None}, "text": None}
    broken = [(ImageFile("b.png", 5, 6), "no image")]
    index = Index(FILES, np.random.default_rng(0).random((40, 3), np.float32), broken, "fingerprint", model)
    write_index(tmp_path, index, {"images_folder": "photos"})
    found = read_index(tmp_path)
    assert (found.files, found.broken, found.image_encoder, found.model) == (FILES, broken, "fingerprint", model)
    np.testing.assert_array_equal(found.embeds, index.embeds)
    assert isinstance(found.embeds, np.memmap)


def test_earlier_embeddings_are_removed_whatever_their_names(tmp_path):
    (tmp_path / "embeds-0.npy").touch()
    (tmp_path / "embeds-z.npy").touch()
    write_index(tmp_path, Index(FILES, np.zeros((40, 3), np.float32)), {})
    assert len([*tmp_path.glob("embeds-*.npy")]) == 1 and len(read_index(tmp_path).files) == 40


def test_what_makes_an_index_old(tmp_path):
    config = tmp_path / "config.json"
    model = {"files": {str(config): None}, "text": None}
    broken = ImageFile("b.png", 5, 6)
    index = Index(FILES[:2], np.zeros((2, 3), np.float32), [(broken, "no image")], "fingerprint", model)
    assert index.is_current([broken, *FILES[:2]])
    assert not index.is_current(FILES[:2]) and not index.is_current([broken, *FILES[:3]])
    for changed in (broken._replace(mtime=7), broken._replace(size=4), broken._replace(path="c.png")):
        assert not index.is_current([changed, *FILES[:2]])
    config.touch()
    assert not index.is_current([broken, *FILES[:2]])


def test_there_is_no_index(tmp_path):
    assert read_index(tmp_path) is None and read_index(tmp_path / "nowhere") is None
