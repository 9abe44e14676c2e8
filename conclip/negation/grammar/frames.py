"""Frames with a place for one thing: filled with a thing that is there they are false, with an absent one true.

A frame is sampled without regard to which of the two fills it, so that only the content separates true from false:
the rest of the caption, the words of the denial and singular or plural are the same for both.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass

from conclip.negation.grammar.cores import Core, find_core
from conclip.negation.grammar.pairs import Pair, Parsed
from conclip.negation.grammar.text import comma, fit_case, split_end
from conclip.negation.grammar.tokens import is_plain
from conclip.negation.lexicon.inflection import article, is_mass, is_person, plural
from conclip.negation.lexicon.names import (
    any_of,
    contradicts,
    counted,
    goes_along,
    is_many,
    is_place,
    is_unique,
    may_corefer,
    some,
)
from conclip.negation.lexicon.nouns import may_be_absent
from conclip.negation.rows import Negation

# {no}: "dog", "dogs"; {a}: "a dog", "any dogs"; {be}: "is", "are"; {p}: "picture"; {core}: the rest of the caption.
_NOUN_FRAMES = (
    ("but-no", "{core} but no {no}"),
    ("but-no", "{core}{comma} but no {no}"),
    ("and-no", "{core} and no {no}"),
    ("but-there-is-no", "{core}{comma} but there {be} no {no}"),
    ("no-in-sight", "{core} with no {no} in sight"),
)
_CLAUSE_FRAMES = (
    ("but-there-is-no", "{core}{comma} but there {be} no {no}"),
    ("but-there-is-no", "{core} but there {be} no {no}"),
    ("and-there-is-no", "{core} and there {be} no {no}"),
    ("no-in-sight", "{core} with no {no} in sight"),
    ("no-around", "{core} with no {no} around"),
)
_WITHOUT_FRAMES = (
    ("without", "{core} without {a}"),
    ("without", "{core} without {a}"),
    ("with-no", "{core} with no {no}"),
)
_BARE_FRAMES = (
    ("there-is-no", "there {be} no {no} in the {p}"),
    ("there-is-no", "there {be} no {no}"),
    ("no-is-in", "no {no} {be} in the {p}"),
    ("no-can-be-seen", "no {no} can be seen in the {p}"),
    ("shows-no", "the {p} shows no {no}"),
    ("picture-without", "{a_p} without {a}"),
    ("picture-with-no", "{a_p} with no {no}"),
)
_HYBRID_FRAMES = (
    ("but-no", "{one} but no {no}"),
    ("but-no", "{one}{comma} but no {no}"),
    ("and-no", "{one} and no {no}"),
    ("no-but-there-is", "there {be} no {no}{comma} but there {one_be} {one}"),
    ("there-is-but-no", "there {one_be} {one} but no {no}"),
    ("shows-but-no", "the {p} shows {one} but no {no}"),
)
_PICTURES = ("picture", "image", "photo", "scene")
# Share of negations that say nothing else about the image, where more could be said.
_BARE_SHARE = 0.3
_PLURAL_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Frame:
    """
    A sentence with a place for one thing.

    Attributes:
        rule (`str`): the name of the frame, as rows record it.
        template (`str`): the text with its fields.
        core (`Core | None`): the rest of the caption, None if the sentence speaks of the thing alone.
        many (`bool`): whether the thing is plural.
        picture (`str`): the word for the image.
    """

    rule: str
    template: str
    core: Core | None
    many: bool
    picture: str


def negate_object(parsed: Parsed, pair: Pair, rng: random.Random) -> Negation:
    """Return a false negation of the thing that `pair` names, in a frame that a true negation could have."""
    return _fill(parsed, _sample_frame(parsed, pair, pair.name, rng), pair, pair.name, "false")


def choose_thing(parsed: Parsed, rng: random.Random, things: list[Pair] | None = None) -> Pair | None:
    """
    Sample a thing of the caption that a false sentence denies: if possible one that a true one might deny too.

    People are named by most captions and seldom absent, so that they would tell false from true.
    """
    things = [pair for pair in parsed.pairs if pair.kind == "object"] if things is None else things
    things = [pair for pair in things if may_be_absent(pair.name)] or things
    things = [pair for pair in things if not is_person(pair.name)] or things
    return things[int(rng.random() * len(things))] if things else None


def negate_absent_object(parsed: Parsed, absent: str, rng: random.Random) -> tuple[Negation, Negation] | None:
    """
    Return a true negation and its foil: one frame, filled with `absent` and with an object of the caption.

    The frame is what the caption says without that object. False negations of objects (`forms.negate`) come from the
    same frames, so that only the content separates true from false. None if the caption names no thing.
    """
    pair = choose_thing(parsed, rng)
    if pair is None:
        return None
    frame = _sample_frame(parsed, pair, absent, rng)
    return _fill(parsed, frame, pair, absent, "true"), _fill(parsed, frame, pair, pair.name, "true_foil")


def hybrid(parsed: Parsed, absent: str, rng: random.Random) -> tuple[Negation, Negation] | None:
    """Return a true hybrid ("a dog but no frisbee") and its foil ("a frisbee but no dog" or "a dog but no ball")."""
    things = [pair for pair in parsed.pairs if pair.kind == "object"]
    if not things:
        return None
    pair = things[int(rng.random() * len(things))]
    others = [other for other in things if not may_corefer(other.name, pair.name)]
    frames = _HYBRID_FRAMES
    if any(is_unique(name) for name in (pair.name, absent)):
        # "There is the sky" is no English.
        frames = tuple(frame for frame in frames if "{one_be}" not in frame[1])
    rule, template = frames[int(rng.random() * len(frames))]
    frame = Frame(rule, template, None, rng.random() < _PLURAL_SHARE, _PICTURES[int(rng.random() * 4)])
    many = parsed.tokens[pair.token].tag[-1] == "S" or _may_be_several(parsed, pair)
    other = choose_thing(parsed, rng, others) if others and rng.random() < 0.5 else None
    if other is None:
        several = many and not is_place(absent)
        foil = _fill(parsed, frame, pair, pair.name, "hybrid_foil", some(absent, several), is_many(absent, several))
    else:
        foil = _fill(parsed, frame, other, other.name, "hybrid_foil", some(pair.name, many), is_many(pair.name, many))
    one = some(pair.name, many)
    return _fill(parsed, frame, pair, absent, "hybrid", one, is_many(pair.name, many)), foil


def _may_be_several(parsed: Parsed, pair: Pair) -> bool:
    """Return whether a noun with one form for both numbers is not clearly one: "(a lot of) sheep"."""
    kids = (parsed.tokens[k].text.lower() for k in parsed.children[pair.token])
    return (
        plural(pair.name) == pair.name and not is_mass(pair.name) and not {"a", "an", "one", "the"}.intersection(kids)
    )


def absent_nouns(parsed: Parsed, nouns: Iterable[str]) -> list[str]:
    """Return those of `nouns` that the caption neither names, under this or another name, nor brings along."""
    lemmas = {token.lemma for token in parsed.tokens if token.tag[0] in "NJV"}
    return [noun for noun in nouns if not any([contradicts(word, noun) for word in lemmas])]


def is_absent(parsed: Parsed, noun: str) -> bool:
    """Return whether the caption leaves room for `noun` to be absent: see `absent_nouns`."""
    return bool(absent_nouns(parsed, (noun,)))


def _sample_frame(parsed: Parsed, pair: Pair, name: str, rng: random.Random) -> Frame:
    """`name` is what fills the frame beside `pair`: a frame has to suit both."""
    bare, which, number, picture = rng.random(), rng.random(), rng.random(), rng.random()
    core = rest = None
    if bare >= _BARE_SHARE and is_plain(parsed.tokens):
        rest = find_core(parsed, pair.token, pair.name)
        core = rest or _other_thing(parsed, pair, rng)
    if core is None:
        frames = _BARE_FRAMES
    else:
        frames = _CLAUSE_FRAMES if core.is_clause else _NOUN_FRAMES
        if " with " in core.text:
            frames = tuple(frame for frame in frames if " with " not in frame[1])
        elif rest and rest.has_owner and goes_along(pair.name) and goes_along(name):
            frames += _WITHOUT_FRAMES
    rule, template = frames[int(which * len(frames))]
    return Frame(rule, template, core, number < _PLURAL_SHARE, _PICTURES[int(picture * 4)])


def _other_thing(parsed: Parsed, pair: Pair, rng: random.Random) -> Core | None:
    """Return another thing of the caption, in place of a rest that makes no sense without `pair`."""
    others = [
        other
        for other in parsed.pairs
        if other.kind == "object" and not may_corefer(other.name, pair.name) and _is_phrase(parsed, other.token)
    ]
    if not others:
        return None
    text = parsed.text(parsed.phrase(others[int(rng.random() * len(others))].token))
    return None if any(may_corefer(word, pair.name) for word in text.lower().split()) else Core(text, False)


def _is_phrase(parsed: Parsed, noun: int) -> bool:
    """Return whether a noun has nothing before it but an article or a number, adjectives and the rest of its name."""
    before = parsed.tokens[parsed.tokens[noun].left : noun]
    return all(
        token.tag in ("DT", "CD", "JJ", "NN") and token.head == noun and token.text.lower() not in ("this", "that")
        for token in before
    )


def _fill(
    parsed: Parsed, frame: Frame, pair: Pair, name: str, negation_type: str, one: str = "", one_many: bool = False
) -> Negation:
    caption = parsed.caption
    # "No beaches" would describe many images, "no beach" one.
    core, many = frame.core, frame.many and not is_place(name)
    text = frame.template.format(
        core=core.text if core else "",
        comma=comma(caption),
        no=counted(name, many),
        a=any_of(name, many),
        be="are" if is_many(name, many) else "is",
        one=one,
        one_be="are" if one_many else "is",
        p=frame.picture,
        a_p=f"{article(frame.picture)} {frame.picture}",
    )
    truth = negation_type in ("true", "hybrid")
    text = fit_case(text, caption) + split_end(caption)[1]
    return Negation(text, negation_type, "object", frame.rule, name, pair.span, truth)
