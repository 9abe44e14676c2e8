"""What is kept of a language model's sentences: judged by hand, and the prompts' own examples."""

from dataclasses import replace
from functools import cache

import pytest

from conclip.negation import Negation, load_spacy, parse
from conclip.negation.grammar import generator as filters
from conclip.negation.llm import verify
from conclip.negation.llm.prompting import PROMPTS, Prompt

PROMPT_FILES = sorted(PROMPTS.glob("*.json"))


@cache
def parsed_(caption):
    return parse(load_once()(caption))


load_once = cache(load_spacy)


def pair_of(parsed, target):
    return next(pair for pair in parsed.pairs if parsed.text(pair.span) == target)


def judge_false(caption, target, answer):
    parsed = parsed_(caption)
    pair = pair_of(parsed, target)
    text = verify.tidy_answer(answer, caption)
    made = Negation(text, "false", pair.kind, "", target, pair.span, False)
    return verify.check_false(parsed, pair, text, 1) or filters.reject(caption, made)


def minimal_pair(kind, negation_type, absent, present):
    true = Negation("", negation_type, kind, "", absent, (0, 1), True)
    return true, replace(true, negation_type=f"{negation_type}_foil", target=present, truth=False)


RIDE = "A man is riding a horse."
FAR = "a man in a big old red shiny car is sleeping"
DOG = "a black dog with a red ball runs past a wooden bench"


@pytest.mark.parametrize(
    ("caption", "target", "answer", "reason"),
    [
        (RIDE, "is riding", "A man is not riding a horse.", None),
        (RIDE, "is riding", "No man is riding a horse.", None),
        ("A red car is parked by a tree", "red", "A car that is not red is parked by a tree", None),
        (RIDE, "is riding", "A man isn't riding a horse.", None),
        (RIDE, "is riding", "A man is not riding.", None),  # one word less
        (RIDE, "is riding", "A man is riding a horse.", verify.NO_NEGATION),
        (RIDE, "is riding", "A man is not not riding a horse.", filters.DOUBLE),
        (RIDE, "is riding", "A man is not riding a horse and no dog.", verify.ADDED),
        (RIDE, "is riding", "A man is not riding a camel.", verify.ADDED),
        (RIDE, "is riding", "A man is not riding near a horse.", verify.ADDED),
        (RIDE, "is riding", "A man is not riding a horse in a field.", verify.ADDED),
        (RIDE, "is riding", "Not a man.", verify.NOT_THERE),
        (RIDE, "is riding", "The man is riding, but not a horse.", verify.NOT_TARGET),
        (RIDE, "is riding", "A man is not riding a horse. It is true.", verify.ODD),
        (RIDE, "is riding", "A man is **not** riding a horse.", verify.ODD),
        (RIDE, "horse", "A man is riding no horse.", None),
        (RIDE, "horse", "No man is riding a horse.", verify.NOT_TARGET),
        (RIDE, "man", "There is no man in the picture.", verify.MISSING),
        (DOG, "black", "a dog that is not black with a red ball runs past a wooden bench", None),
        (DOG, "black", "a black dog with a ball that is not red runs past a wooden bench", verify.NOT_TARGET),
        (DOG, "runs", "a black dog with a red ball does not run past a wooden bench", None),
        (DOG, "runs", "a black dog without a red ball runs past a wooden bench", verify.NOT_TARGET),
        (DOG, "bench", "a black dog with a red ball runs past no wooden bench", None),
        (DOG, "bench", "a black dog with a red ball runs, but not past the wooden bench", None),
        (DOG, "bench", "no black dog with a red ball runs past a wooden bench", verify.NOT_TARGET),
        (FAR, "is sleeping", "a man not in a big old red shiny car is sleeping", verify.NOT_TARGET),
        (
            "a man in a shiny car by an old wall sleeps",
            "shiny",
            "a man in a shiny car by an old wall does not sleep",
            verify.NOT_TARGET,
        ),
        (DOG, "bench", "a black dog with a red ball runs, but not in a wooden bench", verify.ADDED),
        (DOG, "bench", "there is no bench", verify.MISSING),
        ("A woman rode her bike downhill .", "rode", "A woman did not ride her bike downhill .", None),
        ("A boy in a shiny car .", "shiny", "A boy in a car that is not shiny .", None),
    ],
)
def test_false_negations(caption, target, answer, reason):
    assert judge_false(caption, target, answer) == reason


@pytest.mark.parametrize(
    ("kind", "absent", "present", "first", "second", "reason"),
    [
        ("object", "cat", "ball", "a black dog with no cat", "a black dog with no ball", None),
        ("object", "cat", "ball", "There are no cats in the picture", "There are no balls in the picture", None),
        ("object", "ape", "ball", "There is no ape", "There is no ball", None),
        ("object", "pair of ski", "ball", "There are no pair of skis", "There are no balls", None),
        ("object", "snow", "ball", "There is no snow", "There are no balls", None),
        ("relation", "sofa", "bench", "a dog runs, but not past a sofa", "a dog runs, but not past a bench", None),
        ("attribute", "blue", "black", "a dog that is not blue", "a dog that is not black", None),
        ("verb", "sleep", "runs", "a dog is not sleeping", "a dog is not running", None),
        ("object", "cat", "ball", "a black dog with no cat", "a dog with no ball", verify.NOT_MINIMAL),
        ("object", "cat", "ball", "a dog with no ball", "a dog with no cat", verify.NOT_THERE),
        ("object", "cat", "ball", "a dog with a cat", "a dog with a ball", verify.NO_NEGATION),
        ("object", "cat", "ball", "a ball but no cat", "a ball but no ball", verify.NOT_TARGET),
        ("object", "cat", "ball", "a cat but no dog", "a ball but no dog", verify.NOT_TARGET),
        ("object", "cat", "ball", "no dog is with the cat", "no dog is with the ball", verify.NOT_TARGET),
        ("object", "cat", "ball", "a girl with no cat", "a girl with no ball", verify.ADDED),
    ],
)
def test_true_negations_and_foils(kind, absent, present, first, second, reason):
    assert (
        verify.check_minimal_pair(parsed_(DOG), minimal_pair(kind, "true", absent, present), (first, second)) == reason
    )


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("a dog but no cat", "a cat but no dog", None),
        ("There are dogs, but there is no cat", "There is a cat, but there are no dogs", None),
        ("there is no cat, but there is a dog", "there is no dog, but there is a cat", None),
        ("a cat but no dog", "a dog but no cat", verify.NOT_TARGET),
        ("no dog and no cat", "no cat and no dog", verify.NOT_TARGET),
        ("a dog without a cat", "a cat but no dog", verify.NOT_MINIMAL),
        ("there is no cat", "there is no dog", verify.NOT_THERE),
    ],
)
def test_hybrids(first, second, reason):
    parsed = parsed_(DOG)
    found = verify.check_minimal_pair(parsed, minimal_pair("object", "hybrid", "cat", "dog"), (first, second))
    found = found or verify.check_affirmed(parsed, first, "dog") or verify.check_affirmed(parsed, second, "cat")
    assert found == reason


@pytest.mark.parametrize(
    ("answer", "caption", "text"),
    [
        (' "A dog, not a cat!" ', "a dog , running .", "a dog , not a cat ."),
        ("a dog\n  without a ball", "A dog.", "A dog without a ball."),
        ("A dog without a ball.", "Two dogs", "A dog without a ball"),
        ("No dog.", "a dog runs", "no dog"),
    ],
)
def test_case_marks_and_end_are_the_captions(answer, caption, text):
    assert verify.tidy_answer(answer, caption) == text


@pytest.mark.parametrize("path", PROMPT_FILES, ids=lambda path: path.stem)
def test_examples_of_the_prompts_pass_the_checks(path):
    prompt = Prompt.load(path)
    assert prompt.name == path.stem and len(prompt.examples) >= 4
    for example in prompt.examples:
        caption, answer = example["caption"], example["answer"]
        parsed = parsed_(caption)
        texts = tuple(answer[name] for name in prompt.fields)
        assert texts == tuple(verify.tidy_answer(text, caption) for text in texts)
        if "present" not in example:
            pair = pair_of(parsed, example["target"])
            triple = [parsed.text(span) for span in (pair.subject, pair.predicate, pair.object)]
            assert triple == [example[name] for name in ("subject", "predicate", "object")]
            assert judge_false(caption, example["target"], texts[0]) is None
            continue
        negation_type = "hybrid" if "affirmed" in example else "true"
        plan = minimal_pair(
            "object" if path.stem != "absent-pair" else "verb", negation_type, example["absent"], example["present"]
        )
        assert verify.check_minimal_pair(parsed, plan, texts) is None
        for text, name in zip(texts, ("affirmed", "affirmed_falsely"), strict=True):
            assert name not in example or verify.check_affirmed(parsed, text, example[name].partition(" ")[2]) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fields": ["other"]}, "fields of an example"),
        ({"input": ["{nothing}"]}, "nothing"),
        ({"more": 1}, "more"),
        (None, "cannot be read: No such file"),
    ],
)
def test_file_that_is_no_prompt(tmp_path, change, message):
    import json

    path = tmp_path / "hybrid.json"
    if change:
        path.write_text(json.dumps({**json.loads(PROMPT_FILES[0].read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        Prompt.load(path)
