"""`PairRows`: which caption, negated caption and distractor an epoch takes, and what is left out of training."""

import numpy as np
import pytest
from bad_rows import encoded, make_rows
from datasets import Dataset, Features, Image, List, Value
from tiny import TEXT_LENGTH, VOCABULARY, tiny_tokenizer

from conclip.embedding.tokens import TextTokenizer
from conclip.errors import UsageError
from conclip.training.pair_rows import PairRows, text_keys
from modeling_conclip.packing_conclip import PADDING


def tokenize(texts: list[str]):
    return TextTokenizer(tiny_tokenizer(), TEXT_LENGTH, VOCABULARY["<|endoftext|>"])(texts)


def image(colour: str) -> dict:
    return {"bytes": encoded(colour)}


def row(
    captions: list[str], negated: list[str], picture: str = "red", distractors: tuple[str, ...] = ("blue",)
) -> dict:
    return {
        "image": image(picture),
        "caption": captions,
        "negated_captions": negated,
        "distractor_images": [image(colour) for colour in distractors],
    }


def rows_of(rows: list[dict], loss: str = "negclip", **options) -> PairRows:
    texts = List(Value("string"))
    features = {"image": Image(), "caption": texts, "negated_captions": texts, "distractor_images": List(Image())}
    return PairRows(Dataset.from_list(rows, features=Features(features)), tokenize, loss=loss, **options)


def read_keys(images) -> np.ndarray:
    return images.stored.keys()


def sampled(rows: PairRows, epoch: int = 0) -> list[tuple[str, ...]]:
    """Caption, negated caption and, if there are distractors, the distractor's colour of each row."""
    rows.set_epoch(epoch)
    columns = rows.__getitems__(list(range(len(rows))))
    texts = tiny_tokenizer().batch_decode(
        [tokens[tokens != PADDING] for tokens in columns["texts"]], skip_special_tokens=True
    )
    found = [texts[at : at + len(rows)] for at in range(0, len(texts), len(rows))]
    if "distractor_image" in columns:
        pixels = {"red": (255, 0, 0), "blue": (0, 0, 255), "green": (0, 128, 0)}
        found.append(
            [
                next(name for name in pixels if pixels[name] == one.getpixel((0, 0)))
                for one in columns["distractor_image"]
            ]
        )
    return list(zip(*found, strict=True))


def test_each_epoch_takes_one_of_the_captions_with_its_own_negation():
    paired = row(["a cat", "a dog", "a man"], ["no cat", "no dog", "no man"], distractors=("red", "blue", "green"))
    rows = rows_of([paired] * 40, "conclip")
    pairs = {("a cat", "no cat", "red"), ("a dog", "no dog", "blue"), ("a man", "no man", "green")}
    epochs = [sampled(rows, epoch) for epoch in range(3)]
    assert all(set(epoch) == pairs for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert sampled(rows_of([paired] * 40, "conclip"), 1) == epochs[1], "the same seed, epoch and row"
    assert sampled(rows_of([paired] * 40, "conclip", seed=7), 1) != epochs[1]


def test_with_other_lengths_captions_and_negations_are_drawn_apart():
    rows = rows_of([row(["a cat", "a dog", "a man"], ["no hat", "no sofa"])] * 200)
    found = sampled(rows)
    expected = {(caption, negated) for caption in ("a cat", "a dog", "a man") for negated in ("no hat", "no sofa")}
    assert set(found) == expected and min(found.count(pair) for pair in expected) > 15
    captions = rows_of([row(["a cat", "a dog", "a man"], ["no hat"])] * 40, "clip")
    epochs = [sampled(captions, epoch) for epoch in range(2)]
    assert {text for epoch in epochs for (text,) in epoch} == {"a cat", "a dog", "a man"} and epochs[0] != epochs[1]


@pytest.mark.parametrize("captions", [["a cat"], ["a cat", "a dog", "a man"]], ids=["one caption", "paired"])
def test_draws_of_negations_are_those_of_earlier_versions(captions):
    """By the formula: a number of [0, 1) a row from the generator of seed and epoch, times the negations."""
    negated = ["no cat", "no dog", "no man"]
    rows = rows_of([row(captions, negated)] * 50, seed=5)
    for epoch in range(3):
        numbers = np.random.default_rng([5, epoch]).random(50)
        assert [negated for _, negated in sampled(rows, epoch)] == [negated[int(number * 3)] for number in numbers]


def test_what_contradicts_itself_is_left_out_with_counts():
    long = "a red square in the grass " * 20
    rows = rows_of(
        [
            row(["a cat"], ["no cat"]),
            # Equal after the cut at 77 tokens: another negation is left, or none.
            row([long + "with a cat"], [long + "without a cat", "no grass"]),
            row([long + "with a cat"], [long + "without a cat"]),
            # Equal but for upper case; equal to another caption of the row.
            row(["a Dog"], ["a dog", "no dog"]),
            row(["a man", "a woman"], ["a woman", "no woman"]),
            row(["a bird", "a cat"], ["a bird", "no cat"]),
            # The distractor of the first negation is the image, as is the only one of both negations.
            row(["a hat"], ["no hat", "no sofa"], "green", distractors=("green", "blue")),
            row(["a hat"], ["no hat", "no sofa"], "green", distractors=("green",)),
        ],
        "conclip",
    )
    assert len(rows) == 8
    assert rows.use_keys(read_keys) == [
        "Split 'train': left out of training are negated captions that equal a caption of their row as the text "
        "encoder reads them (5), distractors that are the image of their row (2), rows without others (2)."
    ]
    assert len(rows) == 6
    for epoch in range(4):
        (cat, cut, dog, woman, bird, hat) = sampled(rows, epoch)
        assert cat == ("a cat", "no cat", "blue") and cut[1:] == ("no grass", "blue")
        assert (dog[1], woman[:2], bird[:2]) == ("no dog", ("a woman", "no woman"), ("a cat", "no cat"))
        assert hat == ("a hat", "no sofa", "blue")
        images = rows.__getitems__([4, 5])["image"]
        assert [one.getpixel((0, 0)) for one in images] == [(255, 0, 0), (0, 128, 0)]


def test_draws_of_the_other_rows_do_not_depend_on_those_left_out():
    negated = ["no cat", "no dog", "no man"]
    good = [row(["a cat"], negated) for _ in range(30)]
    bad = [row(["a cat"], ["a cat"]) if at % 3 == 0 else one for at, one in enumerate(good)]
    every, some = rows_of(good), rows_of(bad)
    assert every.use_keys(read_keys) == [] and len(some.use_keys(read_keys)) == 1
    assert sampled(some, 2) == [found for at, found in enumerate(sampled(every, 2)) if at % 3]


def test_no_row_left_is_an_error():
    with pytest.raises(UsageError, match=r"no row is left to train on; left out are negated captions .* \(2\), rows"):
        rows_of([row(["a cat"], ["a cat"])] * 2).use_keys(read_keys)


def test_keys_are_equal_where_texts_or_images_are():
    rows = rows_of(
        [
            row(["a cat", "a dog"], ["no cat", "a man"], "red", ("blue", "green")),
            row(["a man", "a Cat"], ["no man", "a sofa"], "green", ("red", "blue")),
        ],
        "conclip",
    )
    rows.use_keys(read_keys)
    for epoch in range(6):
        (first, second), keys = sampled(rows, epoch), rows.keys()
        named = [(one[0], picture, one[1], one[2]) for one, picture in ((first, "red"), (second, "green"))]
        meanings = [name for one in named for name in one]
        assert keys.shape == (2, 4) and keys.dtype == np.uint64
        for a, key in zip(meanings, keys.ravel().tolist(), strict=True):
            for b, other in zip(meanings, keys.ravel().tolist(), strict=True):
                assert (key == other) == (a == b)


def test_keys_of_texts_are_those_of_their_tokens():
    texts = ["a cat", "a cat on a sofa", "A  cat", "cat a", "a cat on a hat", "a cat"]
    tokens = tokenize(texts)
    alike = [tokens[[at]].tolist()[0] for at in range(len(texts))]
    keys = text_keys(tokens).tolist()
    assert [[a == b for b in keys] for a in keys] == [[a == b for b in alike] for a in alike]
    assert keys[0] == keys[2] == keys[5] and len(set(keys)) == 4


def test_rows_of_single_texts_have_keys_for_what_the_loss_reads():
    for loss, columns in {"clip": 2, "negclip": 3, "conclip": 4}.items():
        rows = PairRows(make_rows(3, {}), tokenize, loss=loss)
        assert rows.use_keys(read_keys) == [] and rows.keys().shape == (3, columns)
