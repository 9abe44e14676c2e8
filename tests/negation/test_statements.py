"""Statements: deterministic, correct English, in new wordings, each with the query that it asks."""

import logging
import math
import pickle
import random
import re
from collections import Counter

import pytest

from conclip.errors import UsageError
from conclip.negation.false_captions import false_captions
from conclip.negation.lexicon.inflection import singular
from conclip.negation.lexicon.scenes import COLORS
from conclip.negation.lexicon.wordings import HELD_OUT
from conclip.negation.plain_captions import plain_captions
from conclip.negation.query import Query, parse_query
from conclip.negation.statements import KINDS, OWN, SHARES, VARIED, Statement, StatementGenerator, words_of
from conclip.negation.wording import both, compose, form_of

CAPTIONS = [*plain_captions(400), "A man with no shirt is climbing a rock .", "the boys 's dog runs"]


@pytest.fixture(scope="module")
def generator():
    return StatementGenerator(CAPTIONS)


@pytest.fixture(scope="module")
def drawn(generator):
    return [generator(0, index) for index in range(20_000)]


def test_a_statement_depends_on_its_numbers_alone(generator, drawn):
    again = StatementGenerator(list(CAPTIONS))
    for index in random.Random(0).sample(range(20_000), 200):
        assert again(0, index) == drawn[index]
    assert [again(1, index) for index in range(50)] != drawn[:50]
    other = StatementGenerator(CAPTIONS, seed=1)
    assert [other(0, index) for index in range(50)] != drawn[:50]


def test_shares(drawn):
    counts = Counter(statement.kind for statement in drawn)
    assert set(counts) == set(KINDS)
    for kind, share in SHARES.items():
        # Four standard deviations of a binomial count.
        assert abs(counts[kind] / len(drawn) - share) < 4 * math.sqrt(share * (1 - share) / len(drawn))
    only = StatementGenerator(CAPTIONS, shares={"absence": 3, "hybrid": 1})
    counts = Counter(only(0, index).kind for index in range(2_000))
    assert set(counts) == {"absence", "hybrid"} and abs(counts["absence"] / 2_000 - 0.75) < 0.04


def test_wordings_are_many(drawn):
    def without_things(statement):
        text = statement.text.lower().rstrip(".")
        for number, name in enumerate((*statement.query.unwanted, *statement.query.wanted.split(" and "))):
            text = re.sub(rf"\b(?:an? )?{re.escape(name.removeprefix('a '))}(?:s|es)?\b", f"<{number}>", text)
        return text

    wordings = {kind: set() for kind in KINDS}
    for statement in drawn:
        wordings[statement.kind].add(without_things(statement))
    assert len(wordings["absence"]) > 300 and len(wordings["hybrid"]) > 1_000
    assert len(wordings["presence"]) > 100


def test_no_composed_text_has_a_held_out_form(drawn):
    held_out = re.compile("|".join(HELD_OUT), re.IGNORECASE)
    for text in (
        "This image features a ramp and a bench.",
        "A helmet is not present in this image.",
        "A ramp is present in this image, but there is no slope.",
        "No ramp is included in this image.",
        "No car is in this image.",
        "The image shows a person.",
        "a dog not running",
        "This image features a slope, but no fire hydrant is present.",
    ):
        assert held_out.search(text)
    assert not [s.text for s in drawn if s.kind not in ("affirmative", "false_caption") and held_out.search(s.text)]


@pytest.mark.parametrize(
    ("name", "some", "plural", "denied", "denied_plural"),
    [
        ("dog", "a dog", "dogs", "a dog", "any dogs"),
        ("umbrella", "an umbrella", "umbrellas", "an umbrella", "any umbrellas"),
        ("uniform", "a uniform", "uniforms", "a uniform", "any uniforms"),
        ("snow", "snow", "snow", "any snow", "any snow"),
        ("person", "a person", "people", "a person", "any people"),
        ("woman", "a woman", "women", "a woman", "any women"),
        ("jeans", "jeans", "jeans", "any jeans", "any jeans"),
        ("ocean", "the ocean", "the ocean", "the ocean", "the ocean"),
        ("cup of tea", "a cup of tea", "cups of tea", "a cup of tea", "any cups of tea"),
        ("tennis ball", "a tennis ball", "tennis balls", "a tennis ball", "any tennis balls"),
        ("knife", "a knife", "knives", "a knife", "any knives"),
    ],
)
def test_forms(name, some, plural, denied, denied_plural):
    one, many = form_of(name, False), form_of(name, True)
    assert (one.some, many.some, one.any, many.any) == (some, plural, denied, denied_plural)
    for form in (one, many):
        assert form.is_ == ("are" if form.some in (plural,) and plural not in ("snow", "the ocean") else "is")


def test_no_article_before_a_plural_or_a_mass_noun():
    rng = random.Random(0)
    for _ in range(2_000):
        text = compose(rng, "absence", form_of("snow", False))
        assert not re.search(r"\b(?:a|an|one|single) snow\b|snows|snow are|snow aren't", text), text
        text = compose(rng, "absence", form_of("owl", True))
        assert not re.search(r"\b(?:a|an) owls\b|owls (?:is|isn't|does|appears)\b|\ba owl", text), text
        text = compose(rng, "hybrid", form_of("cat", False), wanted=both(form_of("owl", False), form_of("snow", True)))
        assert "there are an owl" not in text and not re.search(r"  | [.,;]|[.,;]{2}", text), text


def test_people_are_denied_by_nobody():
    rng = random.Random(0)
    texts = [compose(rng, "absence", form_of("person", False)) for _ in range(500)]
    assert sum(bool(re.search("nobody|no one|anyone|anybody", text)) for text in texts) > 50
    assert not any("nobody" in compose(rng, "absence", form_of("dog", False)) for _ in range(500))


def test_how_often_a_caption_is_denied_what_it_names(generator, drawn):
    denied = [s for s in drawn if s.kind == "caption_absence" and s.query.wanted in CAPTIONS]
    own = [s for s in denied if re.search(rf"\b{s.query.unwanted[0]}(?:s|es)?\b|people|men", s.query.wanted.lower())]
    assert abs(len(own) / len(denied) - OWN) < 0.06


def test_things_of_two_words_are_found_in_captions():
    nouns = ["cat", "dog", "car", "tree", "lamp", "tennis ball"]
    generator = StatementGenerator(["two tennis balls"], nouns=nouns, shares={"caption_absence": 1})
    denied = Counter(generator(0, index).query.unwanted for index in range(1_000))
    assert abs(denied["tennis ball",] / 1_000 - OWN) < 0.07
    assert set(denied) == {(name,) for name in nouns}


def test_wanted_things_are_base_texts_whatever_their_name():
    generator = StatementGenerator(["a dog"], nouns=["cup of tea", "ocean", "red circle"], shares={"hybrid": 1})
    wanted = {generator(0, index).query.wanted for index in range(500)}
    assert {"a cup of tea", "the ocean", "a red circle"} <= wanted <= set(generator.base_texts())


def test_base_texts_and_things_hold_all_that_queries_need(generator, drawn):
    texts, things = generator.base_texts(), generator.things()
    assert len(texts) == len(set(texts)) and texts == StatementGenerator(CAPTIONS).base_texts()
    known, single = set(texts), set(things)
    for statement in drawn[:5_000]:
        assert not statement.query.wanted or statement.query.wanted in known, statement
        assert all(phrase in single or phrase in known for phrase in statement.query.unwanted), statement


def test_affirmative_statements_are_captions_or_name_another_thing(drawn):
    texts = [statement.text for statement in drawn if statement.kind == "affirmative"]
    for statement in drawn:
        if statement.kind == "affirmative":
            assert statement.query == Query(statement.text)
        assert bool(statement.query.unwanted) == (statement.kind not in ("affirmative", "presence"))
    share = sum(text in CAPTIONS for text in texts) / len(texts)
    assert abs(share - (1 - VARIED)) < 4 * math.sqrt(VARIED * (1 - VARIED) / len(texts))


def test_captions_name_another_thing_in_the_same_number():
    captions = ["a dog runs", "two dogs run", "the sky", "a cow without a dog"]
    made = StatementGenerator(captions * 50, nouns=["dog", "apple", "ox"], shares={"affirmative": 1})
    texts = {made(0, index).text for index in range(500)}
    assert texts == {"a dog runs", "two dogs run", "the sky"} | {
        "an apple runs", "an ox runs", "two apples run", "two oxen run",
    }  # fmt: skip


def test_a_caption_that_negates_keeps_its_wording(drawn):
    found = {s for s in drawn if "no shirt is climbing" in s.text}
    assert found == {
        Statement(CAPTIONS[-2], Query("A man is climbing a rock", ("shirt",)), "caption_absence"),
    }


def _plain(phrase):
    """A phrase without articles and what a composed text puts around a thing; each word in the singular."""
    shown = (
        r"(?:visible|present|included|seen|shown|depicted|pictured|captured|here|there|in sight|in view|to be seen)"
    )
    phrase = re.sub(r"[^\w' -]", " ", phrase.lower())
    phrase = re.sub(r"^ *(?:an?|the|this) (?:picture|photo|image|scene|photograph|shot|snapshot) \w+ ", "", phrase)
    phrase = re.sub(rf"(?: (?:is|are|can be))?(?: {shown})+ *$", "", phrase)
    skipped = {"a", "an", "the", "any", "only", "just", "with", "and", "this", "is", "of", "there"}
    return [singular(word) for word in phrase.split() if word not in skipped]


def test_the_parser_of_queries_reads_the_same(drawn):
    # The generator knows what it denies; the parser finds it by its own rules.
    denied = [s for s in drawn if s.kind in ("absence", "hybrid", "caption_absence")]
    same = 0
    for statement in denied:
        query = parse_query(statement.text)
        unwanted = [sorted(map(_plain, phrases)) for phrases in (query.unwanted, statement.query.unwanted)]
        # Of "a bag that is not red" a red bag is unwanted.
        if len(unwanted[0]) == 1 and set(unwanted[0][0]) <= COLORS:
            unwanted[0][0] += unwanted[1][0][1:]
        same += unwanted[0] == unwanted[1] and _plain(query.wanted) == _plain(statement.query.wanted)
    assert same / len(denied) > 0.97
    affirmative = [s.text for s in drawn if s.kind in ("affirmative", "presence")]
    assert sum(bool(parse_query(text).unwanted) for text in affirmative) < 0.001 * len(affirmative)


@pytest.mark.parametrize(
    ("caption", "texts", "wanted", "unwanted"),
    [
        ("A dog is running on a beach.", "A dog is(?: not|n't) running on a beach.", "A dog", "running on a beach"),
        ("A dog runs on a beach.", "A dog does(?: not|n't) run on a beach.", "A dog", "run on a beach"),
        ("A dog chases a red ball.", "A dog chases a ball that is not red.", "A dog chases a ball", "red ball"),
        ("A man sits on a bench.", "A man sits,? but not on a bench.", "A man sits", "on a bench"),
        ("A man with a hat is smiling.", "A man (?:without a|with no) hat is smiling.", "A man is smiling", "hat"),
        (
            "A man who is holding a ball jumps.",
            "A man who is(?: not|n't) holding a ball jumps.",
            "A man jumps",
            "holding a ball",
        ),
        ("A boy wearing a hat.", "A boy (?:who is )?not wearing a hat.", "A boy", "wearing a hat"),
    ],
)
def test_false_captions(caption, texts, wanted, unwanted):
    made = [false_captions([caption] * 3, seed) for seed in range(8)]
    found = {query for pairs in made for text, query in pairs if re.fullmatch(texts, text)}
    assert found == {Query(wanted, (unwanted,))}


def test_no_false_caption_whose_rest_would_be_joined_to_nothing():
    captions = (
        ["A boy in a green shirt and a man in a hat are running."] * 3,
        ["A boy in a green shirt is running."] * 3,
    )
    joined, alone = ([text for seed in range(20) for text, _ in false_captions(given, seed)] for given in captions)
    assert any("not in a green" in text for text in alone) and not any("not in a green" in text for text in joined)


def test_no_false_caption_that_denies_one_verb_and_may_deny_another():
    caption = "A girl carries a red bag in her hand and talks on the phone."
    assert not any("and talks" in query.unwanted[0] for _, query in false_captions([caption] * 30, 0))


def test_false_captions_leave_a_whole_sentence(generator):
    for text, query in generator._false:
        assert query.wanted[-1].isalnum() and "  " not in query.wanted and len(query.unwanted) == 1, (text, query)
        assert not re.search(r"\b(?:with|and|is|are|the|a|on)$", query.wanted), (text, query)


def test_a_caption_can_be_denied_as_a_whole():
    captions = ["A dog runs on the beach .", "a brown dog on a beach", "two dogs", "a man with no hat"]
    made = StatementGenerator(captions, nouns=["dog", "cat", "man"], shares={"false_caption": 1})
    drawn = [made(0, index) for index in range(2_000)]
    whole = {}
    for statement in drawn:
        if not statement.query.wanted:
            whole.setdefault(statement.query.unwanted, set()).add(statement.text.lower().rstrip("."))
    assert whole.keys() == {("A dog runs on the beach .",), ("a brown dog on a beach",)}
    assert {"no dog runs on the beach", "it is not true that a dog runs on the beach"} == whole[(captions[0],)]
    phrases = whole[(captions[1],)]
    assert {"no brown dog on a beach", "there is no brown dog on a beach", "not a brown dog on a beach"} <= phrases
    assert all(re.search(r"\b(?:no|not|doesn't|without)\b", text) and "dog on a beach" in text for text in phrases)
    # One in five false captions.
    share = sum(not statement.query.wanted for statement in drawn) / len(drawn)
    assert abs(share - 0.2) < 4 * math.sqrt(0.2 * 0.8 / len(drawn))


def test_it_travels_to_other_processes(generator, drawn):
    again = pickle.loads(pickle.dumps(generator))
    assert [again(0, index) for index in range(100)] == drawn[:100]


def test_captions_are_composed_where_none_are_given():
    shares = {kind: share for kind, share in SHARES.items() if kind != "false_caption"}
    generator = StatementGenerator(shares=shares)
    assert len(generator.captions) == len(set(generator.captions)) >= 3_000
    assert not any(parse_query(caption).unwanted for caption in generator.captions)
    assert {generator(0, index).kind for index in range(200)} == set(shares)
    assert 900 < len(generator.things()) <= 1_500


def test_odd_captions(caplog):
    shares = {"caption_absence": 1, "affirmative": 1}
    with pytest.raises(UsageError, match="caption 1 is None; it has to be a text"):
        StatementGenerator(["a dog", None], shares=shares)
    with pytest.raises(UsageError, match="none of the 2 captions has a word"):
        StatementGenerator(["  ", "..."], shares=shares)
    with pytest.raises(UsageError, match="every caption negates something"):
        StatementGenerator(["a street without cars"], shares=shares)
    with pytest.raises(UsageError, match="three nouns or more; there are 2"):
        StatementGenerator(["a dog"], nouns=["dog", "cat"], shares=shares)
    with pytest.raises(UsageError, match="'absense'; known are affirmative, absence"):
        StatementGenerator(["a dog"], shares={"absense": 1})
    with pytest.raises(UsageError, match="share of hybrid is -1; it has to be 0 or more"):
        StatementGenerator(["a dog"], shares={"hybrid": -1})
    with pytest.raises(UsageError, match="all shares are 0"):
        StatementGenerator(["a dog"], shares={})
    with caplog.at_level(logging.WARNING):
        generator = StatementGenerator(["", "a dog runs", " \n", "?"], shares=shares)
    assert "3 of 4 captions have no word in them and were left out." in caplog.text
    denied = [statement for index in range(50) if (statement := generator(0, index)).kind == "caption_absence"]
    assert {statement.query.wanted for statement in denied} == {"a dog runs"}


def test_words_of_a_text():
    assert words_of("There isn't a T-shirt, no red one.") == ["there", "isn't", "a", "t-shirt", "no", "red", "one"]


class TestOwnWords:
    captions = ("a star and no doubt a circle", "a red circle with a star", "there is a picture of a red circle")
    shares = {kind: share for kind, share in SHARES.items() if kind != "false_caption"}

    def make(self, words, **options):
        return StatementGenerator(self.captions, ["star", "circle", "red circle"], 7, words=words, **options)

    def test_no_statement_has_another_word(self):
        words = {word for caption in self.captions for word in words_of(caption)}
        generator = self.make(words, shares=self.shares)
        drawn = [generator(0, index) for index in range(2_000)]
        assert {word for statement in drawn for word in words_of(statement.text)} <= words
        assert {statement.kind for statement in drawn} == set(self.shares)
        texts = {statement.text.lower().rstrip(".") for statement in drawn}
        assert {"no star", "there is no circle", "a star with no red circle"} <= texts
        assert generator(0, 5) == self.make(words, shares=self.shares)(0, 5)

    def test_a_kind_without_a_statement_is_left_out(self, caplog):
        words = {word for caption in self.captions for word in words_of(caption)} - {"no"}
        with caplog.at_level(logging.WARNING):
            generator = self.make(words, shares={"absence": 0.5, "presence": 0.2, "affirmative": 0.3})
        assert {generator(0, index).kind for index in range(100)} == {"presence", "affirmative"}
        assert "No statement of the kinds absence can be composed" in caplog.text

    def test_too_few_words(self):
        with pytest.raises(UsageError, match="no statement can be composed of the words"):
            self.make({"no"}, shares=self.shares)
