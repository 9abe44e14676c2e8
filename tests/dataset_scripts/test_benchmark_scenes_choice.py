"""Multiple choice on the scenes: one true answer, types in equal shares, and no answer in the text."""

import random
import re
from collections import Counter, defaultdict

import pytest
from scene_captions import OBJECT, is_true

from dataset_scripts import scenes
from dataset_scripts.benchmarks.scenes_choice import choices, make_question

TYPES = ("positive", "absence", "hybrid")


@pytest.fixture(scope="module")
def drawn():
    """(row, objects) of many scenes of the test split, without images."""
    scenes_of_rows, rows = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes, "draw", lambda scene, *_: scenes_of_rows.append(scene))
        patch.setattr(scenes, "encode", lambda image: {"bytes": b"image", "path": None})
        for index in range(6000):
            rows.append(scenes.make_row("test", index, 0))
    return rows, scenes_of_rows[::2]


@pytest.fixture(scope="module")
def questions(drawn):
    return list(choices(enumerate(drawn[0]), "scenes"))


def type_of(text):
    """The type of a statement, by its words."""
    if not re.search(r"\b(no|without)\b", text):
        return "positive"
    return "hybrid" if len(list(OBJECT.finditer(text))) == 2 else "absence"


def test_one_of_four_different_statements_is_true(drawn, questions):
    assert [question["id"] for question in questions] == [str(index) for index in range(6000)]
    for question, scene in zip(questions, drawn[1], strict=True):
        assert len(set(question["captions"])) == 4
        true = [is_true(text, scene) for text in question["captions"]]
        assert true.index(True) == question["answer"] and sum(true) == 1, question
        assert {type_of(text) for text in question["captions"]} == set(TYPES)
        assert type_of(question["captions"][question["answer"]]) == question["category"]


def test_types_and_places_of_the_answer_have_equal_shares(questions):
    for field, values in (("category", TYPES), ("answer", range(4))):
        counts, share = Counter(question[field] for question in questions), 1 / len(values)
        assert set(counts) == set(values)
        # 4 standard deviations of a binomial count.
        assert all(abs(n - 6000 * share) < 4 * (6000 * share * (1 - share)) ** 0.5 for n in counts.values()), counts


def features(question):
    """What a reader of the text alone sees of each statement: its form, and who else names its objects, and how."""
    found = []
    named = [[match.group() for match in OBJECT.finditer(text)] for text in question["captions"]]
    types = [type_of(text) for text in question["captions"]]
    twice = max(types, key=types.count)
    for at, (text, own) in enumerate(zip(question["captions"], named, strict=True)):
        shared = tuple(
            tuple(sorted((types[other], place, named[other].index(noun)) for other in range(4)
                         if other != at and noun in named[other]))
            for place, noun in enumerate(own)
        )  # fmt: skip
        found.append([("form", OBJECT.sub("*", text)), ("twice", types[at], twice), ("place", at),
                      ("shared", types[at], shared), *(("noun", types[at], noun) for noun in own)])  # fmt: skip
    return found


def accuracy_of_text_alone(questions):
    """
    Guess by naive Bayes over the features, or by the best single kind of feature, trained on the first half; return
    the best share of right guesses on the other half.
    """
    half = len(questions) // 2
    seen, right = defaultdict(int), defaultdict(int)
    for question in questions[:half]:
        for at, own in enumerate(features(question)):
            for feature in own:
                seen[feature] += 1
                right[feature] += at == question["answer"]

    def odds(feature):
        return (right[feature] + 1) / (seen[feature] + 4)

    correct = Counter()
    for question in questions[half:]:
        options = features(question)
        for kind in ("form", "twice", "place", "shared", "noun", "all"):
            scores = []
            for own in options:
                score = 1.0
                for feature in own:
                    score *= odds(feature) if kind in (feature[0], "all") else 1
                scores.append(score)
            best = [at for at, score in enumerate(scores) if score == max(scores)]
            correct[kind] += (question["answer"] in best) / len(best)
    return {kind: count / half for kind, count in correct.items()}


def test_text_alone_gives_chance(questions):
    found = accuracy_of_text_alone(questions)
    # 3.5 standard deviations above a quarter.
    assert max(found.values()) < 0.25 + 3.5 * (0.25 * 0.75 / 3000) ** 0.5, found


def test_the_guesser_finds_the_shortcut_of_negbench(questions):
    """There, the type that occurs twice is the right one."""
    negbench = []
    for question in questions:
        present, absent = "red circle", "green square"
        false = [f"a {present} and a {absent}", f"no {present}", f"a {absent} but no {present}"]
        right = {
            "positive": f"a {present} and a star",
            "absence": f"no {absent}",
            "hybrid": f"a {present} but no {absent}",
        }
        texts = [right[question["category"]], *false]
        random.Random(question["id"]).shuffle(texts)
        negbench.append({**question, "captions": texts, "answer": texts.index(right[question["category"]])})
    assert accuracy_of_text_alone(negbench)["twice"] > 0.4


def test_choices_depend_on_the_seed_and_the_row_alone(drawn):
    numbered = list(enumerate(drawn[0][:200]))
    items = list(choices(numbered, "scenes"))
    assert items == list(choices(numbered, "scenes", seed=0))
    assert items[150:] == list(choices(numbered[150:], "scenes"))
    assert [item["captions"] for item in items] != [item["captions"] for item in choices(numbered, "scenes", seed=1)]


def test_every_set_of_statements_occurs():
    """A scene of two objects has two positive or hybrid statements, one of three has two absences."""
    for present, expected in (
        ([("circle", "red"), ("star", "black")], {"positive", "hybrid"}),
        ([("circle", "red"), ("star", "black"), ("square", "green")], {"absence"}),
    ):
        twice = set()
        for seed in range(40):
            texts, _, _ = make_question(random.Random(seed), present)
            [(own, _)] = Counter(map(type_of, texts)).most_common(1)
            twice.add(own)
        assert twice == expected
