"""Query arithmetic on a few hand-made embeddings, against the same sums in numpy."""

import numpy as np
import pytest
import torch

from conclip.errors import UsageError
from conclip.negation import Query, parse_query
from conclip.negation.arithmetic import (
    ANCHOR,
    PRESENCE,
    QueryArithmetic,
    SpaceVLM,
    embed_negations,
    mentions,
    spacevlm,
    thing_name,
)
from conclip.negation.lexicon.names import some
from conclip.negation.lexicon.nouns import read_nouns

NOUNS = ["dog", "cat", "car", "man", "street"]


class Embeddings:
    """A model whose embedding of a text is random, not normalised, and always the same; it counts what it is asked."""

    def __init__(self, width=12):
        self.width, self.asked = width, []

    def __call__(self, texts):
        self.asked += texts
        return torch.tensor(np.array([self.raw(text) for text in texts]))

    def raw(self, text):
        # A common part, as CLIP's embeddings have.
        return np.random.default_rng(sum(text.encode()) + 1000 * len(text)).normal(size=self.width) + 1

    def unit(self, text):
        return norm(self.raw(text))


def norm(vector):
    return vector / np.sqrt((vector**2).sum())


@pytest.fixture
def model():
    return Embeddings()


@pytest.fixture
def arithmetic(model):
    return QueryArithmetic(model, nouns=NOUNS)


def presence(model, phrase):
    return norm(np.mean([model.unit(template.format(phrase)) for template in PRESENCE], axis=0))


def mean(model):
    return np.mean([presence(model, f"a {noun}") for noun in NOUNS], axis=0)


def direction(model, phrase):
    return norm(presence(model, phrase) - mean(model))


def anchor(model):
    return norm(np.mean([model.unit(text) for text in ANCHOR], axis=0))


def equal(found, expected):
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_a_text_without_negation_keeps_its_embedding_to_the_bit(model, arithmetic):
    texts = ["a dog on a street", "A man.", "a no-parking sign"]
    expected = torch.nn.functional.normalize(model(texts).float(), dim=1)
    assert torch.equal(arithmetic(texts), expected)
    # Also beside texts that negate.
    assert torch.equal(arithmetic([*texts, "a street with no cars"])[:3], expected)


def test_parts_are_those_of_the_formula(model, arithmetic):
    equal(arithmetic.anchor, anchor(model))
    equal(arithmetic.mean, mean(model))
    equal(arithmetic.presence(["dog", "apple"]), [presence(model, "a dog"), presence(model, "an apple")])
    equal(arithmetic.direction(["dog", "snow"]), [direction(model, "a dog"), direction(model, "snow")])


@pytest.mark.parametrize("beta", [0.5, 1.25])
def test_negation_is_the_wanted_less_the_unwanted(model, beta):
    arithmetic = QueryArithmetic(model, beta, nouns=NOUNS)
    street = model.unit("a busy street with trees")
    cars, dogs = direction(model, "a car"), direction(model, "a dog")
    cases = {
        Query("a busy street with trees", ("cars",)): norm(street - beta * cars),
        Query("a busy street with trees", ("car", "any dogs")): norm(street - beta * (cars + dogs)),
        # A thing is wanted as the templates have it.
        Query("the street", ("car",)): norm(presence(model, "a street") - beta * cars),
        Query("", ("car",)): norm(anchor(model) - beta * cars),
        # What is no name of a thing: its embedding less the mean, twice; so is a name of two words.
        Query("a dog", ("running fast",)): norm(
            presence(model, "a dog") - 2 * beta * norm(model.unit("running fast") - mean(model))
        ),
        Query("a dog", ("red hats",)): norm(presence(model, "a dog") - 2 * beta * direction(model, "a red hat")),
    }
    equal(arithmetic(list(cases)), list(cases.values()))


def test_texts_are_split_by_the_parser(model, arithmetic):
    texts = ["a street with no cars", "no person is visible, just two elephants"]
    assert torch.equal(arithmetic(texts), arithmetic([parse_query(text) for text in texts]))
    assert parse_query(texts[0]).unwanted == ("cars",)


def test_of_several_texts_those_that_negate_are_replaced():
    """Texts of one query share a row of the arithmetic, which is called once, or not at all."""
    calls, embeds = [], torch.arange(10.0).reshape(5, 2)

    def own(queries):
        calls.append([(query.wanted, query.unwanted) for query in queries])
        return -torch.arange(1.0, 1 + 2 * len(queries)).reshape(-1, 2)

    texts = {4: "a dog but no cat", 0: "a dog", 3: "no cat", 1: "a dog but no cat"}
    embed_negations(embeds, texts.items(), own)
    assert calls == [[("a dog", ("cat",)), ("", ("cat",))]]
    assert embeds.tolist() == [[0, 1], [-1, -2], [4, 5], [-3, -4], [-1, -2]]
    embed_negations(embeds, [(2, "a cat")], own)
    assert len(calls) == 1 and embeds[2].tolist() == [4, 5]


def test_the_anchor_has_a_weight(model):
    arithmetic = QueryArithmetic(model, 0.5, anchor_weight=0.2, nouns=NOUNS)
    equal(arithmetic([Query("", ("car",))])[0], norm(0.2 * anchor(model) - 0.5 * direction(model, "a car")))


def test_things_are_embedded_once(model, arithmetic):
    arithmetic([Query("a tree", ("dog",)), Query("a bus", ("cars",))])
    asked = len(model.asked)
    arithmetic([Query("", ("dogs",)), Query("the bus", ("a car",))])
    assert len(model.asked) == asked


def test_directions_are_learned_from_captions(model, arithmetic):
    captions = ["a dog runs", "two dogs and a cat", "a cat sleeps", "the sky"]
    rows = np.array([model.unit(caption) for caption in captions])
    centre = rows.mean(axis=0)
    sums = {"dog": rows[0] + rows[1] - 2 * centre, "cat": rows[1] + rows[2] - 2 * centre}
    agreement = np.median([np.sqrt((total**2).sum()) / 2 for total in sums.values()])
    # The median of an even number is, in torch, the lower of the two in the middle.
    agreement = min(np.sqrt((total**2).sum()) / 2 for total in sums.values())
    before = {thing: direction(model, f"a {thing}") for thing in ("dog", "cat", "car")}
    expected = {thing: norm(sums[thing] + 2 * agreement * before[thing]) for thing in sums}
    arithmetic.learn(["dog", "cat", "car"], captions)
    # A car is not named: the templates stay.
    equal(arithmetic.direction(["dog", "cat", "car"]), [expected["dog"], expected["cat"], before["car"]])
    equal(arithmetic.presence(["dog"])[0], norm(presence(model, "a dog") + expected["dog"]))
    found = arithmetic([Query("a street", ("dogs", "asleep"))])[0]
    other = norm(model.unit("asleep") - centre)
    equal(found, norm(presence(model, "a street") - 0.5 * (expected["dog"] + 2 * other)))


def test_a_learned_name_of_two_words_is_a_thing(model, arithmetic):
    arithmetic.learn(["park bench"], ["a park bench", "the sky", "a dog"])
    found = arithmetic([Query("a dog", ("a park bench",))])[0]
    equal(found, norm(presence(model, "a dog") - 0.5 * arithmetic.direction(["park bench"])[0].numpy()))


def test_mentions_are_those_of_a_loop():
    names, captions = ["dog", "tennis ball", "ball"], ["Two dogs, a tennis ball!", "tennis balls", "a catalog"]
    captions_at, things = mentions(names, captions)
    assert list(zip(captions_at.tolist(), things.tolist(), strict=True)) == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2)]


@pytest.mark.parametrize(
    ("phrase", "name"),
    [
        ("a dog", "dog"),
        ("Dogs", "dog"),
        ("any red hats.", "red hat"),
        ("people", "person"),
        ("the tennis ball", "tennis ball"),
        ("a dog and a cat", None),
        ("running", None),
        ("a man with a dog on a street", None),
        ("glass of water", None),
        ("", None),
    ],
)
def test_names_of_things(phrase, name):
    assert thing_name(phrase) == name


def test_the_mean_is_by_default_that_of_common_things(model):
    nouns = list(read_nouns().totals)
    assert len(nouns) > 250 and {"man", "dog", "street"} <= set(nouns)
    equal(QueryArithmetic(model).mean, np.mean([presence(model, some(noun, False)) for noun in nouns], axis=0))


def test_spacevlm_turns_away_from_the_unwanted_in_their_plane():
    rows = torch.tensor(np.random.default_rng(1).normal(size=(2, 5, 8)))
    wanted, unwanted = torch.nn.functional.normalize(rows, dim=2)
    found = spacevlm(wanted, unwanted, threshold=0.8)
    for a, n, q in zip(wanted.numpy(), unwanted.numpy(), found.numpy(), strict=True):
        theta = np.arccos(a @ n)
        delta = np.arccos(0.8) + theta / 2
        assert q @ q == pytest.approx(1)
        # The angle to the unwanted text, and to the wanted one on its other side.
        assert np.arccos(q @ n) == pytest.approx(delta)
        assert np.arccos(q @ a) == pytest.approx(abs(delta - theta), abs=1e-6)
        assert np.linalg.matrix_rank(np.stack([a, n, q]), tol=1e-6) == 2


def test_spacevlm_on_queries(model):
    texts = ["a dog", "a street with no cars", "neither a cat nor a dog"]
    found = SpaceVLM(model, threshold=0.9)(texts)
    split = [("a dog", ()), ("a street", ("cars",)), ("A photo of something", ("cat", "dog"))]
    queries = map(parse_query, texts[1:])
    assert [(query.wanted, len(query.unwanted)) for query in queries] == [("a street", 1), ("", 2)]
    split = [(wanted, parse_query(text).unwanted) for (wanted, _), text in zip(split, texts, strict=True)]
    np.testing.assert_allclose(found[0], model.unit("a dog"), atol=1e-6)
    for row, (wanted, unwanted) in zip(found[1:], split[1:], strict=True):
        pair = (torch.tensor(model.unit(text))[None].float() for text in (wanted, " and ".join(unwanted)))
        torch.testing.assert_close(row, spacevlm(*pair, threshold=0.9)[0])


@pytest.mark.parametrize("options", [{"beta": 0}, {"beta": -1}, {"beta": float("nan")}, {"anchor_weight": -0.1}])
def test_refuses(model, options):
    with pytest.raises(UsageError):
        QueryArithmetic(model, nouns=NOUNS, **options)
