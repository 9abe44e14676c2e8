"""The draw of ARO's authors: the same texts for the same seed, against their procedure written down step by step."""

import json
import random
import re
import sys

import numpy as np
import pytest
from benchmark_files import read
from nltk_data import forget_nltk_data

from conclip.errors import UsageError
from dataset_scripts.benchmarks import tagging
from dataset_scripts.benchmarks.aro_draw import aro_orders, aro_retrieval, pre_caption
from dataset_scripts.benchmarks.caption_orders import COCO_ORDER, COCO_SHUFFLED_RETRIEVAL, DIFFERENT, SAME, SHUFFLES
from dataset_scripts.benchmarks.tagging import MODELS

CAPTIONS = [
    "A man with a red helmet on a small moped on a dirt road. ",
    "Dogs.",
    "A young girl is blowing out a big candle on the table.",
    "Two  dogs (brown ones) can't see the man's \"ball\"; Mr. Smith\tsees it.\n",
    "A boy runs. A girl watches him in the U.S. team",
    " ".join(f"the big dog {number}" for number in range(12)),
    "...",
]

pytestmark = pytest.mark.usefixtures("punkt_tab")


def nouns_and_adjectives(doc):
    words = np.array([token.text for token in doc])
    for kind in ("NN NNS NNP NNPS", "JJ JJR JJS"):
        where = [place for place, token in enumerate(doc) if token.tag_ in kind.split()]
        words[where] = np.random.permutation(words[where])
    return " ".join(words)


def the_others(doc):
    words = np.array([token.text for token in doc])
    kept = "NN NNS NNP NNPS JJ JJR JJS".split()
    where = np.array([token.tag_ not in kept for token in doc], bool)
    words[where] = np.random.permutation(words[where])
    return " ".join(words)


def threes(text):
    from nltk.tokenize import word_tokenize

    words = word_tokenize(text)
    return [words[start : start + 3] for start in range(0, len(words), 3)]


def inside_threes(text):
    groups = threes(text)
    for group in groups:
        random.shuffle(group)
    return " ".join(" ".join(group) for group in groups)


def order_of_threes(text):
    groups = threes(text)
    random.shuffle(groups)
    return " ".join(" ".join(group) for group in groups)


@pytest.fixture(scope="module")
def nlp():
    """The whole pipeline of spaCy, as the authors run it."""
    import spacy

    return spacy.load(next(name for name in MODELS if spacy.util.is_package(name)))


@pytest.fixture
def global_seed():
    """Set the two global generators, which the authors use, and restore them afterwards."""
    python, numpy = random.getstate(), np.random.get_state()

    def seed(value):
        random.seed(value)
        np.random.seed(value)

    yield seed
    random.setstate(python)
    np.random.set_state(numpy)


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_orders_are_those_of_the_authors(nlp, global_seed, seed):
    global_seed(seed)
    expected = []
    for caption in CAPTIONS:
        shuffles = [nouns_and_adjectives(nlp(caption)), the_others(nlp(caption))]
        shuffles += [inside_threes(caption), order_of_threes(caption)]
        expected.append((pre_caption(caption), [pre_caption(text) for text in shuffles]))
    found = [(true, others) for true, others, _ in aro_orders(((caption, None) for caption in CAPTIONS), seed)]
    assert found == expected
    # The global generators are left alone.
    assert random.random() != random.Random(seed).random()


def test_retrieval_cleans_first_and_seeds_each_shuffle(nlp, global_seed):
    cleaned = [pre_caption(caption) for caption in CAPTIONS]
    expected = [cleaned]
    for shuffle in (nouns_and_adjectives, the_others, inside_threes, order_of_threes):
        global_seed(3)
        tagged = shuffle in (nouns_and_adjectives, the_others)
        expected.append([shuffle(nlp(text) if tagged else text) for text in cleaned])
    found = [(true, *others) for true, others, _ in aro_retrieval(((caption, None) for caption in CAPTIONS), 3)]
    assert found == list(zip(*expected, strict=True))


def test_a_draw_spelt_out():
    """Of the authors' own code (spaCy 3.8, en_core_web_sm 3.8.0, NLTK 3.10), seed 1."""
    (first,) = aro_orders([(CAPTIONS[0], None)], seed=1)
    assert first == (
        "a man with a red helmet on a small moped on a dirt road",
        [
            "a road with a red dirt on a small moped on a man helmet",
            "a man on a red helmet with small on a a dirt road moped",
            "man with a helmet a red on small a moped a on road dirt",
            "dirt road on a small a red helmet a man with moped on a",
        ],
        None,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('A  Dog. (It\'s "red"): a #1 ball~ *!; ', "a dog it's red a 1 ball"),
        ("x\ny\n", "x\ny"),
        ("...", ""),
        (" ".join(map(str, range(40))), " ".join(map(str, range(30)))),
    ],
)
def test_cleaning(text, expected):
    assert pre_caption(text) == expected


def write(data_dir, captions):
    path = data_dir / "coco" / "coco_karpathy_test.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([{"image": "val2014/a.jpg", "caption": captions}]), encoding="utf-8")


def test_items_say_whether_a_shuffle_is_the_caption(tmp_path):
    write(tmp_path, CAPTIONS)
    items = read(COCO_ORDER, tmp_path)
    expected = [(true, others) for true, others, _ in aro_orders(((caption, None) for caption in CAPTIONS), 0)]
    assert [(item["captions"][0], item["captions"][1:]) for item in items] == expected
    assert [item["id"] for item in items] == [f"a.jpg#{number}" for number in range(len(CAPTIONS))]
    for item, (true, others) in zip(items, expected, strict=True):
        assert item["category"] == (SAME if true in others else DIFFERENT)
    assert items[1]["captions"] == ["dogs"] * 5 and items[1]["category"] == SAME
    assert {item["category"] for item in items} == {SAME, DIFFERENT} and {item["answer"] for item in items} == {0}
    assert COCO_ORDER.first_wins and "draw of the authors" in COCO_ORDER.title


def test_shuffled_retrieval_has_all_captions_under_each_condition(tmp_path):
    write(tmp_path, CAPTIONS)
    with pytest.warns(UserWarning, match="^COCO: shuffles that left one of the 7 captions unchanged: ") as caught:
        items = read(COCO_SHUFFLED_RETRIEVAL, tmp_path)
    columns = zip(
        *((true, *others) for true, others, _ in aro_retrieval(((c, None) for c in CAPTIONS), 0)), strict=True
    )
    for item, category, column in zip(items, ("plain", *SHUFFLES), columns, strict=True):
        assert (item["id"], item["category"], item["captions"]) == ("a.jpg", category, list(column))
    plain = items[0]["captions"]
    same = [sum(a == b for a, b in zip(item["captions"], plain, strict=True)) for item in items[1:]]
    # At least the captions of one word and of none.
    assert min(same) >= 2
    counts = ", ".join(f"{name} {count}" for name, count in zip(SHUFFLES, same, strict=True))
    assert str(caught[0].message).endswith(f"unchanged: {counts}.")
    assert "draw of the authors" in COCO_SHUFFLED_RETRIEVAL.title


@pytest.mark.parametrize("missing", ["nltk", "its data"])
def test_without_nltk_or_its_data_one_sentence_says_what_to_do(tmp_path, monkeypatch, missing):
    write(tmp_path, CAPTIONS)
    forget_nltk_data()
    if missing == "nltk":
        monkeypatch.setitem(sys.modules, "nltk.tokenize", None)
    else:
        monkeypatch.setattr("nltk.data.path", [str(tmp_path)])
    with pytest.raises(UsageError) as caught:
        read(COCO_ORDER, tmp_path)
    said = str(caught.value)
    assert said.endswith('pip install "conclip[spacy]" && python -m nltk.downloader punkt_tab.')
    assert re.search("nltk" if missing == "nltk" else "there is no punkt_tab", said) and "\n" not in said


def test_captions_are_read_as_needed():
    endless = ((caption, number) for number, caption in enumerate(iter(lambda: "A big dog and a small cat.", None)))
    true, others, number = next(aro_orders(endless, seed=0))
    assert (true, number, len(others)) == ("a big dog and a small cat", 0, 4)
    assert tagging.NOUNS.isdisjoint(tagging.ADJECTIVES)
