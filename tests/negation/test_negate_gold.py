"""Captions of every construction and the negations that a reader accepted of each, in negation_gold.jsonl.

A line is accepted if every text that the generator forms from it is: for verbs, relations and attributes all forms of
all pairs, for the other types what three seeds give. A line with an empty list has to give nothing.
"""

import json
import random
from pathlib import Path

import pytest

from conclip.negation import GrammarGenerator, negate, parse

GOLD = Path(__file__).with_name("negation_gold.jsonl")


@pytest.fixture(scope="module")
def judged():
    """(line, texts that the generator forms of it), for every line."""
    lines = [json.loads(line) for line in GOLD.read_text(encoding="utf-8").splitlines()]
    docs = GrammarGenerator().nlp.pipe([line["caption"] for line in lines])
    return [(line, formed(line, parse(doc))) for line, doc in zip(lines, docs, strict=True)]


def formed(line, parsed):
    if line["negation_type"] in ("verb", "relation", "attribute"):
        pairs = [pair for pair in parsed.pairs if pair.kind == line["negation_type"]]
        made = [negate(parsed, pair, random.Random(seed)) for pair in pairs for seed in range(12)]
        return {negation.text for negation in made if negation}
    of_objects = line["negation_type"] == "object"
    options = {
        "strategy": "object" if of_objects else "random",
        "negation_types": ["false" if of_objects else line["negation_type"]],
        "fallback": False,
    }
    texts = set()
    for seed in range(3):
        result = GrammarGenerator(seed, **options).negate_parsed(
            parsed, line["row"], [line["absent"]] * bool(line["absent"])
        )
        texts |= {negation.text for negation in result.negations.values()}
    return texts


def test_the_gold_file_covers_every_construction(judged):
    assert len(judged) >= 300
    counts = {}
    for line, _ in judged:
        counts[line["negation_type"]] = counts.get(line["negation_type"], 0) + 1
    assert all(counts[kind] >= 20 for kind in ("verb", "relation", "attribute", "object", "true", "hybrid", "swap"))


def test_what_is_formed_was_accepted(judged):
    wrong = [
        (line["caption"], sorted(texts - set(line["accepted"])) or "nothing was formed")
        for line, texts in judged
        if not texts <= set(line["accepted"]) or bool(texts) != bool(line["accepted"])
    ]
    assert len(wrong) <= 0.02 * len(judged), wrong


@pytest.mark.parametrize(
    ("caption", "negation"),
    [
        ("A person on skis makes her way through the snow", "A person on skis does not make her way through the snow"),
        ("a dog with a ball", "a dog without a ball"),
        ("a man riding a horse", "a man not riding a horse"),
        ("The horse is eating the grass", "The grass is eating the horse"),
    ],
)
def test_the_papers_examples_are_among_them(caption, negation):
    parsed = parse(GrammarGenerator().nlp(caption))
    negation_types = ["swap"] if "grass" in negation else ["false"]
    made = [
        result.negations[negation_type].text
        for seed in range(60)
        for negation_type in negation_types
        if negation_type
        in (result := GrammarGenerator(seed, negation_types=negation_types).negate_parsed(parsed, 0)).negations
    ]
    assert negation in made
