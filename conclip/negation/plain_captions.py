"""Captions composed from word lists, for training where no captions are given."""

import random

from conclip.negation.lexicon.inflection import article
from conclip.negation.lexicon.names import counted, some
from conclip.negation.lexicon.scenes import COLORED, COLORS, DOERS, HOW, PEOPLE, WHO, WORN, actions

NUMBER = 4_000
_AT = ("on", "in", "at", "near", "beside", "by", "under", "behind")
_NUMBERS = ("two", "three", "two", "several", "some")


def plain_captions(number: int = NUMBER, seed: int = 0) -> list[str]:
    """
    Return distinct captions such as "A brown dog runs on a beach.", the same for the same seed.

    Args:
        number: how many; there are more than 100,000.
    """
    rng = random.Random(seed)
    lines = actions()
    captions: dict[str, None] = {}
    while len(captions) < number:
        captions[_caption(rng, *rng.choice(lines))] = None
    return list(captions)


def denied_doings() -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return who and what they may not be doing, of each line: (("dog", …), ("running", "running on a beach", …))."""
    found = []
    for who, (_, _, gerund), things, places in actions():
        if who in DOERS:
            done = [f"{gerund} {some(thing, False)}" for thing in things] or [gerund]
            where = [f"{preposition} {some(place, False)}" for preposition, place in places]
            # "A man not into a pool" is no English; "a man not on a bench" is.
            at = [place for place in where if place.split()[0] in _AT]
            if not things:
                done += [f"{gerund} {place}" for place in where]
            found.append((tuple(name.replace("_", " ") for name in sorted(WHO[who])), (*done, *at)))
    return found


def _caption(rng: random.Random, who: str, verbs, things, places) -> str:
    base, finite, gerund = verbs
    many = rng.random() < 0.2 and not things
    subject = _described(rng, rng.choice(sorted(WHO[who])).replace("_", " "), HOW[who], 0.5, many)
    if many:
        subject = f"{rng.choice(_NUMBERS)} {subject}"
    worn = ""
    if who in PEOPLE and finite != "wears" and rng.random() < 0.25:
        worn = f" {rng.choice(('in', 'wearing'))} {_described(rng, rng.choice(sorted(WORN)), COLORS, 0.7)}"
    verb = rng.choice((base if many else finite, f"{'are' if many else 'is'} {gerund}", gerund))
    thing = ""
    if things:
        name = rng.choice(things)
        thing = f" {_described(rng, name, COLORS if name in COLORED else (), 0.4)}"
    preposition, place = rng.choice(places)
    where = f" {preposition} {some(place, False)}" if not thing or rng.random() < 0.7 else ""
    text = f"{subject}{worn} {verb}{thing}{where}"
    return f"{text[0].upper()}{text[1:]}."


def _described(rng: random.Random, name: str, words, share: float, many: bool = False) -> str:
    word = rng.choice(sorted(words)) if words and rng.random() < share else ""
    if many:
        return f"{word} {counted(name, True)}".strip()
    phrase = some(name, False)
    if not word:
        return phrase
    return f"{article(word)} {word} {name}" if phrase != name else f"{word} {name}"
