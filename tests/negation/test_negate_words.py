"""English word forms, and the words that decide what may be denied."""

import pytest

from conclip.negation import parse
from conclip.negation.grammar.generator import load_spacy
from conclip.negation.grammar.text import apply, comma, fit_articles, fit_case, split_end, tidy
from conclip.negation.grammar.tokens import read_tokens
from conclip.negation.lexicon.inflection import article, gerund, plural, singular
from conclip.negation.lexicon.names import any_of, contradicts, counted, may_corefer, some


@pytest.mark.parametrize(
    ("one", "many"),
    [
        *[
            ("dog", "dogs"),
            ("box", "boxes"),
            ("bus", "buses"),
            ("city", "cities"),
            ("boy", "boys"),
            ("knife", "knives"),
        ],
        *[("man", "men"), ("fireman", "firemen"), ("woman", "women"), ("child", "children"), ("person", "people")],
        *[
            ("sheep", "sheep"),
            ("blouse", "blouses"),
            ("warehouse", "warehouses"),
            ("dress", "dresses"),
            ("movie", "movies"),
            ("cookie", "cookies"),
            ("tomato", "tomatoes"),
            ("axe", "axes"),
            ("maze", "mazes"),
            ("leaf", "leaves"),
            ("lens", "lenses"),
            ("zombie", "zombies"),
            ("hero", "heroes"),
            ("menu", "menus"),
            ("snowboardman", "snowboardmen"),
            ("blorple", "blorples"),
            ("zilch-fly", "zilch-flies"),
            ("tennis ball", "tennis balls"),
            ("potato", "potatoes"),
            ("photo", "photos"),
        ],
        *[("ski", "skis"), ("church", "churches"), ("horse", "horses"), ("glasses", "glasses"), ("house", "houses")],
    ],
)
def test_plural_and_singular(one, many):
    assert plural(one) == many
    if " " not in one:
        assert singular(many) == one


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        *[("apple", "an"), ("dog", "a"), ("hour", "an"), ("umbrella", "an"), ("uniform", "a"), ("unicycle", "a")],
        *[("old", "an"), ("one", "a"), ("European", "a"), ("honest", "an"), ("house", "a"), ("unusual", "an")],
    ],
)
def test_article(word, expected):
    assert article(word) == expected


@pytest.mark.parametrize(
    "word", ["gas", "canvas", "news", "tennis", "bus", "series", "tiara", "mountainous", "parked"]
)
def test_what_is_no_plural_is_left_alone(word):
    assert singular(word) == word


def test_gerund():
    assert [gerund(verb) for verb in ("run", "sit", "climb", "lie", "dance", "walk", "swim", "visit", "open")] == (
        "running sitting climbing lying dancing walking swimming visiting opening".split()
    )


@pytest.mark.parametrize(
    ("name", "many", "no", "without", "there_is"),
    [
        ("dog", False, "dog", "a dog", "a dog"),
        ("dog", True, "dogs", "any dogs", "dogs"),
        ("umbrella", False, "umbrella", "an umbrella", "an umbrella"),
        ("snow", True, "snow", "any snow", "snow"),
        ("glasses", False, "glasses", "any glasses", "glasses"),
        ("sky", True, "sky", "a sky", "the sky"),
    ],
)
def test_phrases_of_a_name(name, many, no, without, there_is):
    assert (counted(name, many), any_of(name, many), some(name, many)) == (no, without, there_is)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        *[("bike", "bicycle", True), ("man", "person", True), ("man", "woman", False), ("man", "tennis player", True)],
        *[("dog", "puppy", True), ("dog", "cat", False), ("boy", "child", True), ("beagle", "dog", True)],
        *[("tennis ball", "ball", True), ("ball", "kite", False), ("motorcyclist", "woman", True)],
    ],
)
def test_names_of_one_thing(one, other, same):
    assert may_corefer(one, other) is may_corefer(other, one) is same


def test_what_is_implied_is_not_absent():
    assert contradicts("cyclist", "bike") and contradicts("swim", "water") and contradicts("woman", "shoe")
    assert not contradicts("cyclist", "kite") and not contradicts("dog", "shoe")


def test_edits_and_finish():
    assert apply("a red ball", [(6, 10, "kite"), (2, 5, "blue")]) == "a blue kite"
    assert split_end("A dog .") == ("A dog", " .") and split_end("a dog") == ("a dog", "")
    assert comma("A dog .") == " ," and comma("A dog.") == ","
    assert tidy("A man ,  , runs  , ") == "A man , runs"
    assert fit_articles("a apple and an dog", "") == "an apple and a dog"
    assert fit_articles("a hour", "it takes a hour") == "a hour"  # the caption's own English is left alone
    assert fit_case("no dog", "A dog") == "No dog" and fit_case("No dog", "a dog") == "no dog"


def test_a_verb_taken_for_a_noun_is_put_right():
    tokens, children = read_tokens(load_spacy()("A woman in a red scarf smiles for the camera ."))
    verb = next(token for token in tokens if token.text == "smiles")
    assert (verb.tag, verb.lemma, verb.dep) == ("VBZ", "smile", "ROOT")
    assert [tokens[k].text for k in children[verb.i] if tokens[k].dep == "nsubj"] == ["woman"]


def test_spans_are_characters_of_the_caption():
    parsed = parse(load_spacy()("A young man riding a brown horse on the beach"))
    found = {(pair.kind, parsed.text(pair.span)) for pair in parsed.pairs}
    assert {("verb", "riding"), ("attribute", "young"), ("attribute", "brown"), ("object", "horse")} <= found
    (verb,) = [pair for pair in parsed.pairs if pair.kind == "verb"]
    triple = parsed.text(verb.subject), parsed.text(verb.predicate), parsed.text(verb.object)
    assert triple[:2] == ("A young man", "riding") and triple[2].startswith("a brown horse")
    assert parsed.text(parsed.subjects[0]) == "A young man"
