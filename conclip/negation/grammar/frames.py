"""Frames with a place for one thing: filled with a thing that is there they are false, with an absent one true.

A frame is sampled without regard to which of the two fills it, so that only the content separates true from false:
the rest of the caption, the words of the denial and singular or plural are the same for both.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass

from conclip.negation.grammar.noun_phrases import SUBJECT_DEPS, is_miscounted, is_thing, leads_on
from conclip.negation.grammar.pairs import Pair, Parsed
from conclip.negation.grammar.text import comma, fit_case, split_end
from conclip.negation.grammar.tokens import is_last, is_plain, may_be_verb
from conclip.negation.lexicon import words
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
from conclip.negation.lexicon.nouns import is_known, may_be_absent
from conclip.negation.rows import Negation

_LINKS = frozenset({"IN", "RB", "RP", "JJ", "TO"})
_ANIMALS = words.ANIMALS.union(*(names for names in words.SYNONYMS if names & words.ANIMALS))
# These ask for more than one.
_SHARED = frozenset("together both each other another pair between among alike same".split())
_DANGLING = frozenset({"IN", "CC", "DT", "TO", "PRP$", "POS", "MD"})


@dataclass(frozen=True, slots=True)
class Core:
    """What is left of a caption when one thing is taken out.

    Attributes:
        text (`str`): without the caption's end.
        is_clause (`bool`): whether a clause fits behind it: it has a finite verb, or ends in a participle.
        has_owner (`bool`): whether it begins with somebody who has the thing, or was "with" it.
    """

    text: str
    is_clause: bool
    has_owner: bool = False


def find_core(parsed: Parsed, noun: int, name: str) -> Core | None:
    """
    Return the caption without the phrase or clause that brings in the thing `name` at token `noun`.

    Only the end of a plain caption is taken off, or all but its subject, so that nothing is left hanging. None if
    nothing sensible is left, or if what is left still names the thing.
    """
    tokens = parsed.tokens
    cut = _cut(parsed, noun) if is_plain(tokens) else None
    if cut is None:
        return None
    first, last, is_with = cut
    remaining = [token for token in tokens[first : last + 1] if token.dep != "punct"]
    if not remaining or remaining[-1].tag in _DANGLING or not _is_complete_without(remaining, name):
        return None
    if not _is_sure(parsed, remaining) or not _ends_well(parsed, remaining[-1]):
        return None
    end = remaining[-1]
    # "(A picture of a couple that) got married lying": what hangs on a clause in between, the parse does not tell; nor
    # does it of "a man in red climbs a rock", where it takes the verb for a noun.
    if any(token.tag in ("WDT", "WP") or token.tag == "NNS" and may_be_verb(token) for token in remaining):
        return None
    # "Two peanut butter (and jelly sandwiches)"; a mark may join what the parse does not.
    if any(is_miscounted(parsed, token) or token.text == "," for token in tokens[first : end.i + 1]):
        return None
    if end.text.lower() in words.PRONOUNS or _is_part(parsed, end):
        return None
    # "A dog running and no ball" halts; "a dog running, but there is no ball" does not.
    ends_in_verb = end.tag in ("VBG", "VBN", "RB", "RP") or end.text.endswith("ing")
    is_finite = any(token.tag in ("VBZ", "VBP", "VBD", "MD") for token in remaining)
    # "A boy eating food, but no dog" reads as if he ate none.
    has_object = any(
        token.tag == "VBG" and token.dep != "amod" and parsed.kid(token.i, "dobj", "prep") >= 0 for token in remaining
    )
    is_clause = ends_in_verb or has_object or is_finite
    # "(Two dogs) nussle one another": a pronoun hangs on a verb that the parser did not see.
    if not is_clause and any(token.tag == "PRP" for token in remaining):
        return None
    # "A tower sitting, but there is no dog" breaks off; "a dog sleeping, but there is no cat" does not.
    # Nor does "three animals lay" end there.
    if end.text.lower() == "lay":
        return None
    if ends_in_verb and not is_finite and (end.lemma in words.POSTURES or not _is_being(remaining)):
        return None
    # "Some oranges sit, but there is no dog": where a thing lies belongs to it.
    if end.tag[:2] == "VB" and end.lemma in words.POSTURES and not _is_being(remaining):
        return None
    # "A woman stands without a banana" is true beside bananas that she does not hold.
    has = tokens[noun].dep == "dobj" and is_person(_first_noun(remaining).lemma)
    # "A person without a ball" is true of the child whom she faces.
    alone = sum(is_person(token.lemma) for token in tokens if token.tag[:2] == "NN") < 2
    has_owner = alone and (has or (is_with and not _is_elsewhere(parsed, noun)))
    return Core(parsed.caption[tokens[first].start : end.end], is_clause, has_owner)


def _is_elsewhere(parsed: Parsed, noun: int) -> bool:
    """Return whether a thing has a place of its own: "(a kid with) a kite in the sky in the background"."""
    return parsed.kid(noun, "prep") >= 0


def _is_part(parsed: Parsed, noun) -> bool:
    """Return whether it is a part of somebody, which needs more words: "with its mouth (open)"."""
    return noun.lemma in words.NO_OBJECT and parsed.kid(noun.i, "poss") >= 0


def _ends_well(parsed: Parsed, end) -> bool:
    """Return whether nothing is missing behind the last word: "a person in black sits", "holding (onto a bike)"."""
    after = parsed.tokens[end.i + 1 : end.i + 2]
    if after and after[0].text.lower() in words.DESCRIBING:
        return False
    # "(A small white) and a big white dog", "(a woman with a dog) canoe".
    before = parsed.tokens[end.i - 1]
    if end.tag[:2] == "JJ" or end.text.lower() in words.COLORS and before.tag != "IN":
        return False
    if end.tag == "NN" and before.tag[:2] == "NN" and not is_known(f"{before.text} {end.lemma}"):
        return False
    if end.tag[:2] == "NN":
        return is_thing(end) or end.lemma in words.NO_OBJECT or end.tag[:3] == "NNP"
    if end.tag[:2] == "VB" and end.dep != "amod":
        return end.lemma in words.FREE_VERBS
    return end.text.lower() not in words.BARE_PREPOSITIONS


def _is_sure(parsed: Parsed, remaining: list) -> bool:
    """Return whether the words that are left hang on a thing, or on a verb of which a thing is the subject."""
    kept = {token.i for token in remaining}
    (top, *others) = [token for token in remaining if token.head == token.i or token.head not in kept]
    if others:
        return False
    if top.tag[:2] == "NN":
        # A noun before it, with words of its own, is the subject of what is no noun: "a person in the woods climbs".
        first = next(token for token in remaining if token.tag[:2] == "NN")
        return (
            is_thing(top)
            and not is_miscounted(parsed, top)
            and (first is top or first.dep in ("compound", "poss", "nmod"))
        )
    subject = parsed.kid(top.i, *SUBJECT_DEPS)
    return subject in kept and (parsed.tokens[subject].dep == "expl" or is_thing(parsed.tokens[subject]))


def _first_noun(remaining: list):
    return next(token for token in remaining if token.tag[:2] == "NN" and token.dep != "compound")


def _is_being(remaining: list) -> bool:
    first = _first_noun(remaining).lemma
    return is_person(first) or first in _ANIMALS | words.COLLECTIVES


def _is_complete_without(remaining: list, name: str) -> bool:
    nouns = [t for t in remaining if t.tag[:2] == "NN"]
    return bool(nouns) and not any(may_corefer(t.lemma.lower(), name) for t in nouns)


def _cut(parsed: Parsed, noun: int) -> tuple[int, int, bool] | None:
    """Return the first and last token to keep, and whether "with" brings the thing in; None if no cut is sure."""
    tokens = parsed.tokens
    token = tokens[noun]
    while token.dep == "pobj" and tokens[token.head].text.lower() == "of":
        above = tokens[tokens[token.head].head]
        if above.tag[:2] != "NN":
            break
        token = above
    if token.dep == "dobj":
        return _without_verb(parsed, tokens[token.head])
    if token.dep == "conj":
        return _without_conjunct(parsed, token)
    if token.dep != "pobj":
        return None
    base = tokens[token.head]
    while tokens[base.head].tag in _LINKS and base.head != base.i:
        base = tokens[base.head]
    governor = tokens[base.head]
    is_with = base.text == "with" and base.i == base.left
    if base.dep == "agent" or governor.i > base.i:
        return None
    if governor.tag[:2] == "NN":
        return _without_end(tokens, base, is_with)
    if governor.tag[:2] != "VB" or governor.lemma == "be":
        return _subject_alone(parsed, governor)
    thing = parsed.kid(governor.i, "dobj")
    # "Pokes his head (out of the water)": the part of a body asks for it.
    has_object = thing >= 0 and tokens[thing].lemma not in words.NO_OBJECT
    # "Crossed with skis": the verb asks for it.
    if base.text == "with" and governor.tag == "VBN":
        return None
    free = has_object or (governor.lemma in words.FREE_VERBS and governor.tag != "VBN")
    if free and governor.lemma not in words.BINDING_VERBS:
        return _without_end(tokens, base, is_with)
    return _without_verb(parsed, governor)


def _without_end(tokens: list, phrase, is_with: bool = False) -> tuple[int, int, bool] | None:
    """Keep what is before a phrase with which the caption ends."""
    # "(Boys sit) cross legged in front of a sign".
    if (
        not is_last(tokens, phrase.right)
        or tokens[phrase.left].tag == "JJ"
        and tokens[phrase.left].text.endswith("ed")
    ):
        return None
    return 0, phrase.left - 1, is_with


def _without_verb(parsed: Parsed, verb) -> tuple[int, int, bool] | None:
    tokens = parsed.tokens
    while verb.dep == "xcomp":
        verb = tokens[verb.head]
    if verb.dep == "acl" and verb.i > verb.head or verb.dep == "advcl" and verb.left > verb.head and verb.tag == "VBG":
        return _without_end(tokens, verb)
    return _subject_alone(parsed, verb)


def _subject_alone(parsed: Parsed, verb) -> tuple[int, int, bool] | None:
    """Keep the subject's noun phrase of a main verb."""
    subject = parsed.kid(verb.i, "nsubj", "nsubjpass")
    if subject < 0 or verb.dep != "ROOT":
        return None
    token = parsed.tokens[subject]
    if leads_on(parsed.tokens, token):
        return None
    if token.tag[:2] != "NN" or token.lemma in words.NO_OBJECT and parsed.tokens[token.right].i == subject:
        return None
    return token.left, min(token.right, verb.i - 1), False


def _without_conjunct(parsed: Parsed, token) -> tuple[int, int, bool] | None:
    tokens = parsed.tokens
    first = tokens[token.head]
    cc = token.left - 1
    if cc < 1 or tokens[cc].dep != "cc" or tokens[cc].text.lower() != "and" or parsed.kid(token.i, "conj") >= 0:
        return None
    if first.tag[:2] != "NN" or first.dep == "conj" or any(t.text.lower() in _SHARED for t in tokens):
        return None
    if first.dep in ("nsubj", "nsubjpass"):
        return first.left, cc - 1, False
    return (0, cc - 1, False) if is_last(tokens, token.right) else None


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
_POINTING = frozenset("only just other another same such these those this that own".split())
# Share of negations that say nothing else about the image, where more could be said.
_BARE_SHARE = 0.3
_PLURAL_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Frame:
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
