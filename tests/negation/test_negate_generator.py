"""The grammar generator: same rows for the same seed however they are cut up, minimal pairs, filters, absent nouns."""

import pickle
import random
import re
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from conclip.negation import (
    KINDS,
    NEGATION_TYPES,
    GrammarGenerator,
    choose,
    is_absent,
    negate,
    object_nouns,
    parse,
    reject,
)
from conclip.negation.grammar import generator as filters
from conclip.negation.rows import Negation

CAPTIONS = [
    "A man is riding a horse on the beach .",
    "a dog with a ball",
    "Two kids are playing in the snow .",
    "A woman in a red coat crosses the street.",
    "A cat and a dog",
    "three boats on a lake",
    "A small boy throws a stick to a brown dog .",
    "A girl sits on a bench reading a book.",
]
ABSENT = [["umbrella", "kite", "street", "piano"]] * len(CAPTIONS)


@pytest.fixture(scope="module")
def generator():
    return GrammarGenerator(seed=3)


def run(part):
    captions, rows, absent = part
    return list(GrammarGenerator(seed=3).negate(captions, rows, absent))


def test_order_batches_and_processes_change_nothing(generator):
    rows = list(range(100, 100 + len(CAPTIONS)))
    whole = {result.row: result for result in generator.negate(CAPTIONS, rows, ABSENT)}
    turned = GrammarGenerator(seed=3, batch_size=2).negate(CAPTIONS[::-1], rows[::-1], ABSENT)
    assert {result.row: result for result in turned} == whole
    parts = [(CAPTIONS[k::2], rows[k::2], ABSENT[k::2]) for k in range(2)]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert {result.row: result for part in pool.map(run, parts) for result in part} == whole


def test_seed_and_row_matter(generator):
    def texts(seed, first):
        results = GrammarGenerator(seed).negate(CAPTIONS, range(first, first + len(CAPTIONS)), ABSENT)
        return [result.negations["true"].text for result in results]

    assert texts(3, 100) != texts(4, 100) and texts(3, 100) != texts(3, 200)


def test_a_maker_travels_without_its_model(generator):
    assert generator.nlp is not None
    assert len(pickle.dumps(generator)) < 1000


def test_every_product_comes_with_its_fields(generator):
    for caption, result in zip(CAPTIONS, generator.negate(CAPTIONS, range(8), ABSENT), strict=True):
        assert set(result.negations) | set(result.reasons) == set(NEGATION_TYPES)
        assert {"false", "true", "true_foil", "hybrid", "hybrid_foil"} <= set(result.negations)
        for negation_type, negation in result.negations.items():
            assert (
                negation.negation_type == negation_type and negation.kind in KINDS and negation.generator == "grammar"
            )
            assert negation.truth is (negation_type in ("true", "hybrid"))
            start, end = negation.span
            assert 0 <= start < end <= len(caption)
            assert negation.text[0].isupper() == caption[0].isupper()
            assert re.search(r"[\s.]*$", negation.text).group() == re.search(r"[\s.]*$", caption).group()


def test_a_true_negation_and_its_foil_differ_by_what_is_denied_alone(generator):
    for seed in range(40):
        for result in GrammarGenerator(seed, negation_types=["true"]).negate(CAPTIONS, range(8), ABSENT):
            true, foil = result.negations["true"], result.negations["true_foil"]
            assert (true.rule, true.kind, true.span) == (foil.rule, foil.kind, foil.span)
            words = [set(re.findall(r"\w+", text.lower())) for text in (true.text, foil.text)]
            changed = [part - other for part, other in (words, words[::-1])]
            articles = {"a", "an", "any", "is", "are"}
            assert all(len(part - articles) <= 2 for part in changed), (true.text, foil.text)


def test_false_negations_of_objects_use_the_frames_of_true_ones():
    rules = {"false": set(), "true": set()}
    for seed in range(80):
        generator = GrammarGenerator(seed, strategy="object", negation_types=["false", "true"])
        for result in generator.negate(CAPTIONS[:3], range(3), ABSENT):
            for negation_type, found in rules.items():
                if negation_type in result.negations:
                    found.add(result.negations[negation_type].rule)
    assert rules["false"] == rules["true"] and len(rules["true"]) > 8


@pytest.mark.parametrize("kind", KINDS)
def test_the_strategy_decides_the_kind(kind):
    made = GrammarGenerator(strategy=kind, negation_types=["false"], fallback=False).negate(CAPTIONS, range(8))
    kinds = {result.negations["false"].kind for result in made if result.negations}
    assert kinds == {kind}


def test_without_a_pair_of_the_kind_there_is_nothing_or_another_kind():
    (strict,) = GrammarGenerator(strategy="attribute", negation_types=["false"], fallback=False).negate(["a dog"], [0])
    (loose,) = GrammarGenerator(strategy="attribute", negation_types=["false"]).negate(["a dog"], [0])
    assert strict.reasons == {"false": filters.NOTHING} and loose.negations["false"].kind == "object"


def test_only_absent_nouns_are_denied_as_true(generator):
    parsed = parse(generator.nlp("A woman rides a bike along the river ."))
    assert [noun for noun in ("person", "bicycle", "water", "helmet", "kite") if is_absent(parsed, noun)] == ["kite"]
    result = generator.negate_parsed(parsed, 0, ["bicycle", "girl", "kite"])
    assert result.negations["hybrid"].target == "kite"
    result = generator.negate_parsed(parsed, 0, ["bicycle"])
    assert result.reasons["true"] == result.reasons["hybrid_foil"] == filters.NOT_ABSENT


def test_object_nouns_are_names(generator):
    (nouns,) = generator.nouns(["Two men and a group of children with tennis balls in front of a stop sign"])
    assert nouns == ["man", "child", "tennis ball", "stop sign"]
    (nouns,) = generator.nouns(["A statue of a man and a toy train in the background"])
    assert "man" not in nouns and "train" not in nouns


@pytest.mark.parametrize(
    "caption",
    [
        "A dog without a collar",
        "There is no man in the street .",
        "nobody is on the beach",
        "A girl who isn't smiling",
        "a man and a boy , neither of them in a hat",
        "A child that has never seen snow",
    ],
)
def test_negated_captions_are_left_alone(generator, caption):
    (result,) = generator.negate([caption], [0], [["kite"]])
    assert not result.negations and set(result.reasons.values()) == {filters.NEGATED}


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("", filters.DOUBT),
        ("beautiful !", filters.DOUBT),
        ("see https://x.y/z a dog", filters.DOUBT),
        ("Why would the cow be grazing in front of those homes?", filters.DOUBT),
        ("two people stand in behind of a motorcycle", filters.DOUBT),
        ("A man in a yellow kayak on that is floating on calm water .", filters.DOUBT),
        ("the", filters.DOUBT),
    ],
)
def test_what_the_grammar_doubts(generator, caption, reason):
    (result,) = generator.negate([caption], [0])
    assert set(result.reasons.values()) == {reason}


def test_too_long_unchanged_and_double(generator):
    def negation(text, negation_type="false"):
        return Negation(text, negation_type, "verb", "do-not", "run", (0, 1), False)

    assert reject("A dog runs", negation("A  dog runs")) == filters.UNCHANGED
    assert reject("A dog runs", negation("No dog does not run")) == filters.DOUBLE
    assert reject("A dog runs", negation("A dog walks")) == filters.DOUBLE  # nothing is denied
    assert reject("A dog runs", negation("A runs dog", "swap")) is None
    count = len
    assert reject("A dog runs", negation("No dog runs"), count, limit=11) is None
    assert reject("A dog runs", negation("No dog runs"), count, limit=10) == filters.LONG
    (result,) = GrammarGenerator(count_tokens=lambda text: 78).negate(["A dog bites a man"], [0], [["kite"]])
    assert {result.reasons[negation_type] for negation_type in ("false", "true", "true_foil", "hybrid")} == {
        filters.LONG
    }


def test_no_text_comes_twice(generator):
    for seed in range(30):
        for result in GrammarGenerator(seed).negate(["a dog", "A cat on a couch"], [0, 1], [["kite"]] * 2):
            texts = [negation.text.lower() for negation in result.negations.values()]
            assert len(texts) == len(set(texts))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="strategy is 'noun'"):
        GrammarGenerator(strategy="noun")
    with pytest.raises(ValueError, match="'lies'"):
        GrammarGenerator(negation_types=["lies"])
    with pytest.raises(ValueError, match="strategy is 'noun'"):
        choose(parse(GrammarGenerator().nlp("a dog")), "noun", random.Random(0))


@pytest.mark.parametrize(
    ("caption", "wrong"),
    [
        ("Some dogs are running on the grass .", "Some dogs are not"),  # may be true where some are running
        ("Both men are smiling", "Both men are not"),
        ("A cup of tea", "not of"),
        ("The dog is still sleeping", "not still"),
    ],
)
def test_no_negation_that_leaves_the_caption_true(generator, caption, wrong):
    parsed = parse(generator.nlp(caption))
    for pair in parsed.pairs:
        for seed in range(20):
            negation = negate(parsed, pair, random.Random(seed))
            assert negation is None or wrong not in negation.text


def test_the_thing_denied_is_named_nowhere_else(generator):
    parsed = parse(generator.nlp("A black dog chases a white dog on the beach"))
    assert object_nouns(parsed) == ["dog", "beach"]
    for pair in parsed.pairs:
        if pair.kind == "object" and pair.name == "dog":
            texts = {negate(parsed, pair, random.Random(seed)).text.lower() for seed in range(40)}
            assert all(len(re.findall(r"\bdogs?\b", text)) == 1 for text in texts), texts
