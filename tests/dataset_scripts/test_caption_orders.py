"""Captions in other orders: every order that a shuffle may give and none that it may not, the same ones every time."""

import itertools
import json
import random
import sys

import pytest

from conclip.errors import UsageError
from dataset_scripts.benchmarks import tagging
from dataset_scripts.benchmarks.caption_orders import (
    COCO_ORDER_STRICT,
    FLICKR30K_ORDER_STRICT,
    SHUFFLES,
    cleaned,
    shuffled_captions,
    shuffles,
)
from dataset_scripts.benchmarks.schema import Kind, item_features

WORDS = "a big dog chases the small cat".split()
TAGS = "DT JJ NN VBZ DT JJ NN".split()
COCO = {
    "COCO_val2014_000000391895.jpg": [
        "A man with a red helmet on a small moped on a dirt road. ",
        "Dogs.",
        "Man riding a motor bike on a dirt road on the countryside.",
    ],
    "COCO_val2014_000000060623.jpg": ["A young girl is blowing out a big candle on the table."],
}


def write(data_dir, captions=COCO):
    path = data_dir / "coco" / "coco_karpathy_test.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"image": f"val2014/{name}", "caption": texts} for name, texts in captions.items()]
    path.write_text(json.dumps(rows), encoding="utf-8")


def every_order(shuffle):
    """All texts of a shuffle of WORDS, written down place by place."""
    if shuffle == "nouns and adjectives":
        swaps = itertools.product(("big", "small"), ("dog", "cat"))
        texts = {f"a {one} {animal} chases the {other(one)} {other(animal)}" for one, animal in swaps}
    elif shuffle == "all but nouns and adjectives":
        texts = {f"{x} big dog {y} {z} small cat" for x, y, z in itertools.permutations(["a", "chases", "the"])}
    elif shuffle == "within trigrams":
        firsts, seconds = (
            itertools.permutations(["a", "big", "dog"]),
            itertools.permutations(["chases", "the", "small"]),
        )
        texts = {" ".join([*first, *second, "cat"]) for first, second in itertools.product(firsts, seconds)}
    else:
        texts = {" ".join(order) for order in itertools.permutations(["a big dog", "chases the small", "cat"])}
    return texts - {" ".join(WORDS)}


def other(word):
    return {"big": "small", "small": "big", "dog": "cat", "cat": "dog"}[word]


@pytest.mark.parametrize(("shuffle", "count"), list(zip(SHUFFLES, (3, 5, 35, 5), strict=True)))
def test_every_order_and_no_other(shuffle, count):
    sampled = [shuffles(WORDS, TAGS, random.Random(seed))[shuffle] for seed in range(1_000)]
    expected = every_order(shuffle)
    assert set(sampled) == expected and len(expected) == count
    # None is preferred: five standard deviations of a binomial count.
    often, least = len(sampled) / count, min(sampled.count(text) for text in expected)
    assert often - least < 5 * (often * (1 - 1 / count)) ** 0.5


def test_the_same_draw_everywhere():
    """Spelt out, for numbers are compared between machines; worked out by hand from the generator's first draws."""
    assert shuffles(WORDS, TAGS, random.Random("0 a big dog")) == {
        "nouns and adjectives": "a small dog chases the big cat",
        "all but nouns and adjectives": "a big dog the chases small cat",
        "within trigrams": "dog big a chases small the cat",
        "trigrams": "a big dog cat chases the small",
    }


@pytest.mark.parametrize(
    ("words", "tags", "found"),
    [
        ([], [], {}),
        (["dogs"], ["NNS"], {}),
        (["a", "dog"], ["DT", "NN"], {"within trigrams": {"dog a"}}),
        (["run", "dogs", "run"], ["VB", "NNS", "VB"], {"within trigrams": {"dogs run run", "run run dogs"}}),
        (["so", "so", "so", "so"], ["RB"] * 4, {}),
        # Two adjectives and one noun: the noun stays.
        (
            ["red", "green", "ball"],
            ["JJ", "JJR", "NN"],
            {
                "nouns and adjectives": {"green red ball"},
                "within trigrams": {
                    "red ball green",
                    "green red ball",
                    "green ball red",
                    "ball red green",
                    "ball green red",
                },
            },
        ),
        # One trigram and a rest.
        (
            ["ann", "sees", "bob", "run"],
            ["NNP", "VBZ", "NNPS", "VB"],
            {
                "nouns and adjectives": {"bob sees ann run"},
                "all but nouns and adjectives": {"ann run bob sees"},
                "within trigrams": {
                    "ann bob sees run",
                    "sees ann bob run",
                    "sees bob ann run",
                    "bob ann sees run",
                    "bob sees ann run",
                },
                "trigrams": {"run ann sees bob"},
            },
        ),
    ],
)
def test_a_shuffle_without_another_order_is_not_there(words, tags, found):
    sampled = [shuffles(words, tags, random.Random(seed)) for seed in range(100)]
    assert {name: {sample[name] for sample in sampled} for name in sampled[0]} == found
    assert all(list(sample) == [name for name in SHUFFLES if name in found] for sample in sampled)


def test_cleaning():
    tokens = ["A", "T.V.", "(", "Dog", ")", ",", "*", "don't", "#1", " ", "-", '"', "!"]
    tags = [f"tag{index}" for index in range(len(tokens))]
    assert cleaned(tokens, tags) == (
        ["a", "t v", "dog", ",", "don't", "1", "-"],
        ["tag0", "tag1", "tag3", "tag5", "tag7", "tag8", "tag10"],
    )
    assert cleaned(list('.!"()*#:;~'), ["."] * 10) == ([], [])
    words, tags = cleaned([".", *map(str, range(40))], ["."] * 41)
    assert words == [str(number) for number in range(30)] and len(tags) == 30


def test_order_items(tmp_path):
    write(tmp_path)
    items = list(COCO_ORDER_STRICT.read(tmp_path))
    # "Dogs." has no other order.
    assert [(one["id"], one["captions"][0]) for one in items] == [
        ("COCO_val2014_000000391895.jpg#0", "a man with a red helmet on a small moped on a dirt road"),
        ("COCO_val2014_000000391895.jpg#2", "man riding a motor bike on a dirt road on the countryside"),
        ("COCO_val2014_000000060623.jpg#0", "a young girl is blowing out a big candle on the table"),
    ]
    for one in items:
        true, *others = one["captions"]
        assert len(others) == 4 and true not in others
        assert all(sorted(text.split()) == sorted(true.split()) for text in others)
        assert one["images"] == [str(tmp_path / "coco" / "val2014" / one["id"].split("#")[0])]
        assert (one["answer"], one["category"], one["boxes"]) == (0, "", [])
    # Nouns (girl, candle, table) and adjectives (young, big) among their like; the rest in place, and the reverse.
    true, swapped, rest, *_ = (text.split() for text in items[2]["captions"])
    nouns, adjectives = [2, 8, 11], [1, 7]
    unchanged = [index for index in range(12) if index not in nouns + adjectives]
    assert [swapped[index] for index in unchanged] == [true[index] for index in unchanged]
    assert {swapped[index] for index in nouns} == {"girl", "candle", "table"}
    assert {swapped[index] for index in adjectives} == {"young", "big"}
    assert [rest[index] for index in nouns + adjectives] == ["girl", "candle", "table", "young", "big"]
    assert COCO_ORDER_STRICT.kind == FLICKR30K_ORDER_STRICT.kind == Kind.CAPTIONS
    assert not COCO_ORDER_STRICT.first_wins and "strict draw" in COCO_ORDER_STRICT.title
    assert item_features().encode_example(items[0])["captions"] == items[0]["captions"]


def test_a_draw_depends_on_seed_and_caption_alone(tmp_path):
    write(tmp_path)
    first = {one["id"]: one["captions"] for one in COCO_ORDER_STRICT.read(tmp_path)}
    write(tmp_path, dict(reversed(COCO.items())))
    assert {one["id"]: one["captions"] for one in COCO_ORDER_STRICT.read(tmp_path)} == first
    name = "COCO_val2014_000000391895.jpg"
    write(tmp_path, {name: COCO[name][2:]})
    (alone,) = COCO_ORDER_STRICT.read(tmp_path)
    assert alone["captions"] == first[f"{name}#2"]
    (other_seed,) = COCO_ORDER_STRICT.read(tmp_path, seed=1)
    assert other_seed["captions"] != alone["captions"] and other_seed["captions"][0] == alone["captions"][0]


def test_captions_of_one_shape_are_drawn_apart():
    captions = [(f"a dog and {number} cats", str(number)) for number in range(50)]
    sampled = {others["within trigrams"].replace(n, "n") for _, others, n in shuffled_captions(captions, 0)}
    # Of 6 * 2 - 1 orders.
    assert len(sampled) > 8


def test_captions_are_read_as_needed():
    endless = ((f"A dog and {number} cats.", number) for number in itertools.count())
    true, others, number = next(shuffled_captions(endless, seed=0))
    assert (true, number) == ("a dog and 0 cats", 0) and others


def test_a_caption_of_no_words_stays():
    ((true, others, _),) = shuffled_captions([("...", None)], seed=0)
    assert (true, others) == ("...", {})


def test_damage_is_reported_through_the_tagger(tmp_path):
    write(tmp_path, {"a.jpg": ["A dog."], "b.jpg": [None]})
    with pytest.raises(UsageError, match="coco_karpathy_test.json, row 1: 'caption' is None"):
        list(COCO_ORDER_STRICT.read(tmp_path))


@pytest.fixture
def fresh_tagger():
    tagging._tagger.cache_clear()
    yield
    tagging._tagger.cache_clear()


@pytest.mark.parametrize("missing", ["spaCy", "model"])
def test_without_spacy_or_its_model_one_sentence_says_what_to_install(tmp_path, monkeypatch, fresh_tagger, missing):
    write(tmp_path)
    if missing == "spaCy":
        monkeypatch.setitem(sys.modules, "spacy", None)
    else:
        monkeypatch.setattr(tagging, "MODELS", ("no_such_model",))
    with pytest.raises(UsageError, match=r'pip install "conclip\[spacy\]"\.$'):
        list(COCO_ORDER_STRICT.read(tmp_path))
