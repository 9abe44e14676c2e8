"""Queries of texts and images: split into terms, added and subtracted."""

import numpy as np
import pytest

from conclip.errors import UsageError
from conclip.search.terms import Term, combine, split_query


def minus(text):
    return Term(text, -1)


@pytest.mark.parametrize(
    ("words", "terms"),
    [
        (["a street with no cars"], [Term("a street with no cars")]),
        (["a", "street"], [Term("a street")]),
        (["horse", "+", "stripes"], [Term("horse"), Term("stripes")]),
        (["apple", "-", "fruit", "bowl"], [Term("apple"), minus("fruit bowl")]),
        (["apple - fruit + red"], [Term("apple"), minus("fruit"), Term("red")]),
        (["-", "cars"], [minus("cars")]),
        # As in other search engines, the word alone.
        (["a street -cars at night"], [Term("a street at night"), minus("cars")]),
        (["a street", "-cars", "-bikes"], [Term("a street"), minus("cars"), minus("bikes")]),
        (['a street -"red cars" at night'], [Term("a street at night"), minus("red cars")]),
        (["-cars"], [minus("cars")]),
        # No operators: they are inside a word, or numbers.
        (["a well-known 3-4 t-shirt"], [Term("a well-known 3-4 t-shirt")]),
        (["a dog's ball -5 C++"], [Term("a dog's ball -5 C++")]),
        (["  two   blanks "], [Term("two blanks")]),
    ],
)
def test_terms_of_a_query(words, terms):
    assert split_query(words) == terms


def test_the_path_of_an_image_is_an_image(tmp_path):
    path = tmp_path / "new york - city.JPG"
    path.touch()
    image = Term(str(path), 1, True)
    assert split_query([str(path)]) == [image]
    assert split_query([str(path), "+", "at", "night"]) == [image, Term("at night")]
    assert split_query([str(path), "at", "night"]) == [image, Term("at night")]
    assert split_query(["snow", "-", str(path), "-cars"]) == [Term("snow"), Term(str(path), -1, True), minus("cars")]
    dog = tmp_path / "dog.png"
    dog.touch()
    assert split_query([f"snow - {dog} + night"]) == [Term("snow"), Term(str(dog), -1, True), Term("night")]
    (tmp_path / "notes.txt").touch()
    assert not split_query([str(tmp_path / "notes.txt")])[0].is_image


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a", "-"], "nothing behind -"),
        (["a", "+", "-", "b"], "nothing behind +"),
        (["a + -cars"], "nothing behind +"),
        ([" "], "The query is empty"),
        ([], "The query is empty"),
        (["a caf\udce9"], "The query is not UTF-8 text"),
        (["a -caf\udce9"], "The query is not UTF-8 text"),
        (["a dog", "+", "sub/missing.JPG"], "names sub/missing.JPG, but there is no such image file"),
        ([f"a dog - {'x' * 300}.png"], ".png, but there is no such image file"),
    ],
)
def test_a_query_that_is_not_finished_is_refused(words, says):
    with pytest.raises(UsageError, match="^The query") as error:
        split_query(words)
    assert says in str(error.value)


def test_terms_are_added_and_subtracted():
    embeds = np.array([[1, 0, 0], [0, 1, 0], [0.6, 0, 0.8]], np.float32)
    # (1, 0, 0) + (0, 1, 0) - (0.6, 0, 0.8) = (0.4, 1, -0.8), of length √1.8.
    expected = np.array([0.4, 1, -0.8]) / 1.8**0.5
    np.testing.assert_allclose(combine(embeds, [Term("a"), Term("b"), minus("c")]), expected, rtol=1e-6)
    np.testing.assert_array_equal(combine(embeds[:1], [Term("a")]), embeds[0])
    np.testing.assert_array_equal(combine(embeds[:1], [minus("a")]), -embeds[0])


def test_terms_that_cancel_each_other_are_refused():
    embeds = np.array([[0.6, 0.8], [0.6, 0.8]], np.float32)
    with pytest.raises(UsageError, match="cancel each other"):
        combine(embeds, [Term("a"), minus("a")])
