"""
Multiple-choice questions on images with captions, of the types of NegBench (arXiv 2501.09425): presence, absence and
hybrid. What an image shows is what its captions name, so nothing but captions is needed.
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from conclip.negation.lexicon.implied import IMPLIED_BY
from conclip.negation.lexicon.inflection import singular
from conclip.negation.lexicon.names import contradicts
from conclip.negation.lexicon.nouns import read_nouns
from conclip.negation.lexicon.things import THINGS
from conclip.negation.statement_things import is_thing
from conclip.negation.wording import both, compose, form_of

QUESTION_KINDS = ("presence", "absence", "hybrid")
NUM_QUESTIONS = 900
# How often an absent thing is drawn before a question is left out.
_TRIES = 20
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Question:
    """
    Four texts, of which the first alone is true of an image.

    Attributes:
        image: number of the image.
        kind: what the true text says: one of `QUESTION_KINDS`.
        texts: the true text; Y but no X; Y; no X, where X is in the image and Y is not.
    """

    image: int
    kind: str
    texts: tuple[str, str, str, str]


def make_questions(captions: Sequence[Sequence[str]], number: int = NUM_QUESTIONS, seed: int = 0) -> list[Question]:
    """
    Make questions on images from their captions.

    The true text is "X and Z" (presence), "no Y" (absence) or "X but no Y" (hybrid), in one of hundreds of wordings
    that are composed anew for each text. Y is named by captions of another image, drawn at random, so that things are
    absent as often as they are present. A thing that follows from what the captions of the image name, as a bike from
    a cyclist, is not said to be absent; others may be there though no caption names them.

    Args:
        captions: for each image all its captions.
        number: about how many questions, equally many of each kind as far as the captions allow; at most one of each
            kind for each image.
        seed: of all random choices.

    Returns:
        The questions; none if captions name too few things.
    """
    rng = random.Random(seed)
    words = [{singular(word) for text in texts for word in _WORD.findall(text.lower())} for texts in captions]
    visible = read_nouns().visible.union(THINGS)
    counts = Counter(word for own in words for word in own if word in visible and is_thing(word))
    named = [sorted(word for word in own if counts[word] > 1) for own in words]
    images = [image for image, own in enumerate(named) if own]
    rng.shuffle(images)
    questions: list[Question] = []
    for image in images:
        for kind in QUESTION_KINDS:
            question = _question(rng, image, kind, named, words[image], images)
            if question and len(questions) < number:
                questions.append(question)
    return questions


def _question(
    rng: random.Random, image: int, kind: str, named: list[list[str]], words: set[str], images: list[int]
) -> Question | None:
    present = rng.choice(named[image])
    absent = _absent(rng, named, words, images)
    second = _second(rng, present, named[image]) if kind == "presence" else ""
    if absent is None or second is None:
        return None
    shown, lacking = form_of(present, False), form_of(absent, False)
    if kind == "presence":
        true = compose(rng, "presence", wanted=both(shown, form_of(second, False)))
    elif kind == "absence":
        true = compose(rng, "absence", lacking)
    else:
        true = compose(rng, "hybrid", lacking, wanted=shown)
    false = (
        compose(rng, "hybrid", shown, wanted=lacking),
        compose(rng, "presence", wanted=lacking),
        compose(rng, "absence", shown),
    )
    return Question(image, kind, tuple(_sentence(text) for text in (true, *false)))


def _second(rng: random.Random, present: str, own: list[str]) -> str | None:
    """Return another thing that the captions name, which cannot be the same."""
    others = [name for name in own if not (contradicts(present, name) or contradicts(name, present))]
    return rng.choice(others) if others else None


def _absent(rng: random.Random, named: list[list[str]], words: set[str], images: list[int]) -> str | None:
    """Return a thing that captions of another image name, and that nothing in the image's own captions implies."""
    implied = {thing for word in words for thing in IMPLIED_BY.get(word, ())}
    for _ in range(_TRIES):
        name = rng.choice(named[rng.choice(images)])
        if name not in implied and not any(contradicts(word, name) for word in words):
            return name
    return None


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
