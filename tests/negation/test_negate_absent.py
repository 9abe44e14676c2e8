"""Absent nouns: never what is said of the image, as frequent as the captions' own, decided by seed and row."""

import pickle
from collections import Counter

import numpy as np
import pytest
from noun_counts import absent_nouns, pair_counts

from conclip.negation.lexicon import absent as module
from conclip.negation.lexicon.absent import AbsentNouns
from conclip.negation.lexicon.inflection import singular
from conclip.negation.lexicon.places import missed

NAMES = [
    "dog", "man", "person", "boy", "child", "bicycle", "ball", "soccer ball", "umbrella", "flower", "kayak",
    "jacket", "woman", "car", "cat", "pool", "horse", "snow", "bus", "bench", "kite", "pizza", "bird",
]  # fmt: skip


def flat(names=NAMES):
    """Every noun equally often, any two together equally often."""
    size = len(names)
    return AbsentNouns(names, np.full(size, 100), np.full((size, size), 5) * (1 - np.eye(size, dtype=int)))


def ever_drawn(captions, labels=(), nouns=("bench",), names=NAMES, draws=60):
    """Names drawn where all go together equally well: what decides is what the captions say."""
    absent = flat(names)
    absent.lift[:] = 2
    return {name for row in range(draws) for name in absent.sample(nouns, captions, labels, 0, row)}


@pytest.mark.parametrize(
    ("said", "never"),
    [
        ("Two puppies play .", {"dog"}),
        ("a kid on a swing", {"child", "boy", "person"}),
        ("A MAN walks", {"man", "person"}),
        ("some bikes", {"bicycle"}),
        ("tennis balls", {"ball", "soccer ball"}),
        ("a ball", {"ball", "soccer ball"}),
        ("kayaking at dusk", {"kayak"}),
        ("a snowy street", {"snow", "car", "bicycle"}),
        ("the bus", {"bus"}),
        ("a vehicle", {"bus", "car"}),
        ("people", {"person", "man", "woman", "boy", "child"}),
        ("he smiles", {"man", "boy", "person"}),
        ("some ducks", {"bird"}),
        ("geese", {"bird"}),
        ("a foal", {"horse"}),
        # What goes with the scene and is seldom named.
        ("a runway", {"bus", "car"}),
        ("a mountain", {"snow"}),
        ("something in its mouth", {"ball"}),
        ("food", {"pizza"}),
        # Clothes are there as often as not, whatever the caption says.
        ("a cloud", {"jacket"}),
    ],
)
def test_nothing_that_is_said_is_absent(said, never):
    drawn = ever_drawn(["an umbrella in a yard", said, "a flower"], nouns=["sidewalk", "yard", "cow", "lake", "pizza"])
    assert not drawn & (never | {"umbrella", "flower"})
    assert drawn
    assert not ever_drawn(["an umbrella"], nouns=["sidewalk", "person"], labels=[said]) & never


def test_what_is_not_said_can_be_absent():
    drawn = ever_drawn(["a flower beside a road in a yard"] * 3, nouns=["road", "yard"])
    assert drawn == {"dog", "bird", "ball", "bus"}


@pytest.mark.parametrize(
    ("captions", "nouns", "people"),
    [
        # Who drives or throws is there, named or not; so may be anybody where nothing is said of animals or people.
        (["a bench"] * 3, ["bench"], set()),
        (["a truck"] * 3, ["truck"], set()),
        (["a cow"] * 3, ["cow"], {"man", "woman", "person", "boy", "child"}),
        (["a dog catches a ball"] * 3, ["dog"], set()),
        (["a dog runs", "a dog on a leash", "a brown dog"], ["dog"], set()),
        # One caption says little of people; three say the same.
        (["a woman runs"], ["woman"], set()),
        (["a woman runs", "a woman", "a lady runs"], ["woman"], {"man", "boy", "child"}),
        (["a woman runs", "a woman", "a person runs"], ["woman"], set()),
        (["a woman runs", "a woman", "a woman in a crowd"], ["woman"], set()),
        (["two women run", "women", "women run"], ["woman"], set()),
        # Where a girl is, her mother may be, and "child" may mean her.
        (["a girl", "a girl", "a girl"], ["girl"], set()),
    ],
)
def test_people_are_absent_where_nothing_hints_at_them(captions, nouns, people):
    everybody = {"man", "woman", "person", "boy", "child"}
    assert ever_drawn(captions, nouns=nouns, names=[*NAMES, "girl", "cow", "truck"]) & everybody == people


def test_animals_are_absent_beside_animals():
    names = [*NAMES, "zebra", "elephant", "cow", "sheep", "field"]
    assert {"zebra", "bird"} <= ever_drawn(["an elephant"] * 3, nouns=["elephant"], names=names)
    assert {"horse", "sheep"} <= ever_drawn(["a cow"] * 3, nouns=["cow"], names=names)
    assert not ever_drawn(["a car"] * 3, nouns=["car"], names=names) & {"zebra", "elephant", "sheep", "cow", "horse"}


PEOPLE = {"man", "woman", "person", "boy", "girl", "child", "baby", "toddler"}


@pytest.mark.parametrize(
    ("caption", "named", "expected"),
    [
        # A thing needs something that the caption itself names.
        ("a man", "man", {"dog"}),
        ("a man in a dress", "man dress", {"dog"}),
        ("a tower of bricks", "brick", set()),
        ("a man in a park", "man park", {"dog", "bird", "ball", "frisbee", "kite", "bench", "bicycle", "bike"}),
        ("an empty park", "park", {"dog", "bird", "ball", "bench", "bicycle", "bike"}),
        ("soup on a table", "table", {"dog", "cat"}),
        ("soup on a box", "box", set()),
        ("a cat and soup on a table", "cat table", {"dog", "cat"}),
        ("a sled", "sled", set()),
        ("two boys on a lake", "boy lake", {"dog", "bird", "boat", "duck", "canoe", "kayak"}),
        ("people on a sidewalk", "people sidewalk", {
            "dog", "bird", "bench", "umbrella", "bicycle", "bike", "car", "bus", "truck", "motorcycle",
        }),
        ("a dog in a field", "dog field", {"dog", "cat", "bird", "ball", "frisbee"}),
        ("a man up a mountain", "man mountain", {"dog", "bird", "lake", "river", "waterfall", "snow"}),
        ("a cow", "cow", {"dog", "bird", "horse", "cow", "sheep", "goat"}),
        ("a pizza", "pizza", {"pizza", "sandwich", "hamburger"}),
        # Rooms leave nothing that is seen outdoors, whatever can be seen through the window.
        ("a lake behind a bed", "bed lake", {"dog", "cat"}),
        # These leave room for little, whatever else is named; any caption of the image may tell.
        ("two planes over a field", "plane field", {"bird"}),
        ("a man wakeboards on a lake", "man lake", {"bird"}),
        ("a man surfing a wave at a beach", "man wave beach", {"bird", "boat"}),
        ("two boys in a pool", "boy pool", {"dog"}),
        ("two girls on a rollercoaster", "girl", set()),
        ("a man with a coin", "man coin", set()),
        ("a teddy bear", "bear", {"dog", "cat"}),
        ("a bear on a chair", "bear chair", {"bird"}),
        ("a zebra in grass", "zebra grass", {"bird", "zebra", "giraffe", "elephant"}),
    ],
)  # fmt: skip
def test_what_is_missed_where(caption, named, expected):
    said = {form for word in caption.split() for form in (word, singular(word))}
    assert missed(said, frozenset(named.split())) - PEOPLE == expected


def test_people_may_be_missed_but_in_narrow_scenes():
    assert missed({"man"}, {"man"}) >= PEOPLE
    assert missed({"zebra"}, {"zebra"}) & PEOPLE == {"person", "man", "woman"}
    assert not missed({"plane"}, {"plane"}) & PEOPLE


def test_nothing_is_missed_beside_what_is_seen_close_up():
    names = [*NAMES, "yard"]
    assert ever_drawn(["a man close to a bench", "dressed up", "a yard"], nouns=["yard"], names=names) >= {"dog"}
    assert not ever_drawn(["A close up of a bench", "a bench", "a yard"], nouns=["yard"], names=names) & {"dog", "cat"}


def test_lifts_are_those_of_a_loop():
    pairs, totals = np.array([[0, 6, 1], [6, 0, 2], [1, 2, 0]]), np.array([10, 8, 2])
    lift = module.compare_pairs(pairs, totals)
    for one in range(3):
        for other in range(3):
            chance = sum(pairs[one]) * totals[other] / 20
            assert lift[one, other] == pytest.approx((pairs[one][other] + 1) / (chance + 1))


def test_smoothed_lifts_keep_the_likeness_of_names():
    names, lift = module._compare_shipped()
    assert lift[names["table"], names["pizza"]] > 1 > lift[names["table"], names["beach"]]
    assert lift[names["surfboard"], names["beach"]] > 1 > lift[names["surfboard"], names["table"]]


def test_few_captions_are_filled_up_with_the_shipped_counts():
    lists = [["dog", "gizmo"], ["cat"]]
    absent = absent_nouns(lists)
    missing = (5_000 - 2) / 100_000
    assert absent.totals[absent.names.index("cat")] == pytest.approx(1 + missing * module.read_nouns().totals["cat"])
    assert absent.totals[absent.names.index("gizmo")] == 1
    drawn = {name for row in range(40) for name in absent.sample(["sand"], ["sand in a yard"] * 3, [], 0, row)}
    assert len(drawn) >= 2 and not drawn & {"sand", "gizmo", "snow", "pizza"}
    enough = absent_nouns(lists * 2_500)
    assert enough.names == ["cat", "dog", "gizmo"]


def test_draw_depends_on_seed_and_row_alone():
    one, other = flat(), flat()
    drawn = [one.sample(["dog"], ["a dog"], [], 3, row) for row in range(8)]
    assert [other.sample(["dog"], ["a dog"], [], 3, row) for row in reversed(range(8))] == drawn[::-1]
    assert len({tuple(names) for names in drawn}) == 8
    assert one.sample(["dog"], ["a dog"], [], 4, 0) != drawn[0]
    assert all(len(set(names)) == len(names) <= 16 for names in drawn)


def test_fit_makes_the_drawn_as_frequent_as_the_named():
    """A common noun is seldom absent: drawn in proportion to its frequency it would come too rarely."""
    names = ["dog", "umbrella", "kite", "bike", "bench", "bird"]
    shares = np.array([0.38, 0.2, 0.15, 0.12, 0.08, 0.07])
    rows = [[name] for name in np.random.default_rng(0).choice(names, 4_000, p=shares).tolist()]
    counts = pair_counts(rows)
    names = list(counts.names.names)
    totals = np.array(list(counts.names.names.values()))
    absent = AbsentNouns(names, totals, counts.pairs)
    absent.lift[:] = 2
    where = ["park", "sidewalk", "person"]
    items = [(row, [f"{row[0]} in a park"] * 3) for row in rows]

    def distance():
        drawn = (absent.sample([*row, *where], captions, [], 0, n) for n, (row, captions) in enumerate(items))
        first = Counter(found[0] for found in drawn if found)
        expected = dict(zip(names, totals / totals.sum(), strict=True))
        return sum(abs(first[name] / first.total() - expected[name]) for name in names) / 2

    before = distance()
    absent.fit(([*row, *where], captions, []) for row, captions in items)
    assert before > 0.08
    assert distance() < 0.03


def test_fit_without_rows_and_nothing_to_draw():
    absent = flat(["dog", "ball"])
    absent.fit([])
    assert absent.scale.tolist() == [1, 1]
    assert absent.sample(["dog"], ["a dog with a ball"], [], 0, 0) == []
    absent.fit([(["dog"], ["a dog with a ball"], [])])
    empty = AbsentNouns([], np.zeros(0), np.zeros((0, 0)))
    assert empty.sample(["dog"], ["a dog"], [], 0, 0) == []


def test_pickled_draws_the_same():
    absent = flat()
    absent.fit([(["dog"], ["a dog"] * 3, []), (["car"], ["a car"] * 3, [])])
    loaded = pickle.loads(pickle.dumps(absent))
    assert absent.scale.std() > 0 and (loaded.pairs == absent.pairs).all() and loaded.pairs.dtype == absent.pairs.dtype
    for row in range(20):
        assert loaded.sample(["dog"], ["a dog"], [], 1, row) == absent.sample(["dog"], ["a dog"], [], 1, row)
