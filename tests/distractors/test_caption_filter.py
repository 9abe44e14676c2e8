"""Which captions mention what, image by image, and for all queries and the whole pool at once."""

import numpy as np
import pytest
from embedding_pool import make_negated_phrases, make_texts

from conclip.distractors.caption_filter import CaptionFilter, head_of, mentions, negation_holds, word_forms

texts = pytest.fixture(name="texts")(make_texts)
negated_phrases = pytest.fixture(name="negated_phrases")(make_negated_phrases)


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        pair.split()
        for pair in (
            "dogs dog, boxes box, buses bus, knives knife, wolves wolf, gloves glove, men man, women woman, "
            "firemen fireman, children child, people person, ladies lady, skis ski, potatoes potato, shoes shoe, "
            "leaves leaf, horses horse, glasses glass, ties tie, churches church, teeth tooth, dresses dress, "
            "menus menu, mice mouse"
        ).split(", ")
    ],
)
def test_plural_and_singular_meet(plural, singular):
    assert word_forms(plural) & word_forms(singular)


@pytest.mark.parametrize(("one", "other"), [("cat", "car"), ("man", "woman"), ("board", "boat"), ("sky", "ski")])
def test_other_words_do_not_meet(one, other):
    assert not word_forms(one) & word_forms(other)


def test_heads():
    heads = {
        "a red ball": "ball",
        "the man in a hat": "man",
        "Two Dogs.": "dogs",
        "not on the table": "table",
        "a bottle of water": "bottle",
        "t-shirt": "shirt",
        "red": "red",
        "the": None,
        "": None,
    }
    assert {phrase: head_of(phrase) for phrase in heads} == heads


def test_negation_holds_if_no_text_mentions_the_phrase_and_one_mentions_the_subject():
    captions = ["A man walks two Dogs.", "someone near a lake"]
    assert mentions(captions, "a small dog") and mentions(captions, "lakes") and not mentions(captions, "dogma")
    assert negation_holds(captions, ["a ball"])
    assert not negation_holds(captions, ["a ball", "the dog"])
    assert not negation_holds([*captions, "ball"], ["a ball"])  # an object label
    assert negation_holds(captions, ["a ball"], "the men") and not negation_holds(captions, ["a ball"], "a woman")
    assert negation_holds(captions, ["a ball"], "") and negation_holds(captions, [])
    assert not negation_holds([], ["a ball"])


@pytest.mark.parametrize("with_subjects", [False, True])
def test_filter_of_all_pairs_equals_that_of_each(texts, negated_phrases, with_subjects):
    subjects = [("a lake", "", "two men")[row % 3] for row in range(len(negated_phrases))] if with_subjects else None
    rows = np.array([5, 0, 91, 41, 5, 60, 1])
    expected = [
        [negation_holds(texts[image], negated_phrases[row], subjects and subjects[row]) for image in range(30, 130)]
        for row in rows
    ]
    found = CaptionFilter(texts, negated_phrases, subjects)(rows, 30, 130)
    assert found.tolist() == expected
    assert 0.1 < found.float().mean() < 0.9
