"""Texts that are read from a column on access are those of the whole column in memory."""

import datasets
import numpy as np
import pytest

from conclip import data
from conclip.data import text_lists
from conclip.embedding import text_column
from conclip.embedding.text_column import JoinedTexts, TextColumn
from conclip.errors import UsageError

LISTS = [["a"], ["b", "c", "d"], ["e", "f"], ["g"], ["h", "i", "j", "k"], ["l"]]


@pytest.fixture(autouse=True)
def a_few_at_a_time(monkeypatch):
    for module in (data, text_column):
        monkeypatch.setattr(module, "TEXTS_AT_A_TIME", 4)


@pytest.mark.parametrize("rows", [None, [4, 0, 2, 1]])
@pytest.mark.parametrize("listed", [True, False])
def test_every_slice_is_that_of_the_list(rows, listed):
    values = LISTS if listed else [one[0] for one in LISTS]
    dataset = datasets.Dataset.from_dict({"caption": values})
    dataset = dataset if rows is None else dataset.select(rows)
    texts, expected = TextColumn(dataset, "caption", "train"), sum(text_lists(dataset, "caption", "train"), [])
    assert texts.lengths.tolist() == [len(one) if listed else 1 for one in dataset["caption"]]
    assert len(texts) == len(expected) and list(texts) == expected and texts[-1] == expected[-1]
    both, twice = JoinedTexts(texts, texts), expected + expected
    assert list(both) == twice and both[len(expected)] == expected[0]
    for start in range(len(twice) + 1):
        for stop in range(start, len(twice) + 2):
            assert texts[start:stop] == expected[start:stop]
            assert both[start:stop] == twice[start:stop]
    for step in (-1, 2, -3):
        assert texts[::step] == expected[::step] and both[::step] == twice[::step]
    at = np.array([0, 2, len(expected) - 1])
    assert texts.pick(at) == [expected[index] for index in at]


def test_a_blank_text_is_named_by_its_row():
    dataset = datasets.Dataset.from_dict({"caption": [*"abcdef", " ", "g"]})
    with pytest.raises(UsageError, match="Split 'train', row 6: caption holds ' ', not a caption: correct"):
        TextColumn(dataset, "caption", "train")
