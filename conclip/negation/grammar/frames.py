"""Frames with a place for one thing: filled with a thing that is there they are false, with an absent one true.

A frame is sampled without regard to which of the two fills it, so that only the content separates true from false:
the rest of the caption, the words of the denial and singular or plural are the same for both.
"""

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

from conclip.negation.grammar.parsing import Pair, Parsed, is_miscounted, is_thing, leads_on
from conclip.negation.grammar.text import comma, fit_case, split_end, tidy
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
from conclip.negation.lexicon.nouns import may_be_absent
from conclip.negation.rows import Negation

_LINKS = frozenset({"IN", "RB", "RP", "JJ", "TO"})
_ANIMALS = words.ANIMALS.union(*(names for names in words.SYNONYMS if names & words.ANIMALS))
# These ask for more than one.
_SHARED = frozenset("together both each other another pair between among alike same".split())
# After what was taken out, these may point at it.
_IT = frozenset("it its them their itself themselves which".split())
# What the sentence may go on with where a phrase is taken out of it.
_RESUMING = frozenset({"IN", "TO", "RB", "VBZ", "VBP", "VBD", "MD", ".", ","})
_MARKS = re.compile(r"""[,;:()"“”`]|''|\s[-–]\s""")
_DANGLING = frozenset({"IN", "CC", "DT", "TO", "PRP$", "POS", "MD"})


@dataclass(frozen=True, slots=True)
class Core:
    """What is left of a caption when one thing is taken out.

    Attributes:
        text (`str`): without the caption's end.
        is_clause (`bool`): whether a clause fits behind it: it has a finite verb, or ends in a participle.
        has_owner (`bool`): whether it begins with somebody who has the thing, or was "with" it.
        place (`tuple[str, str] | None`): if the thing was in a "with …" phrase, the text before and after it.
    """

    text: str
    is_clause: bool
    has_owner: bool = False
    place: tuple[str, str] | None = None


def find_core(parsed: Parsed, noun: int, name: str) -> Core | None:
    """Return the caption without the phrase or clause that brings in the thing `name` at token `noun`.

    None if nothing sensible is left, or if what is left still names the thing.
    """
    tokens = parsed.tokens
    roots = [token for token in tokens if token.head == token.i]
    if len(roots) != 1:
        return None
    cut = _cut(parsed, noun)
    if cut is None:
        return None
    keep_first, keep_last, first, last, is_with = cut
    # "(Boys sit) cross legged in front of a sign".
    if tokens[first].tag == "JJ" and tokens[first].text.lower().endswith("ed"):
        return None
    if first <= last:
        last = _take_along(parsed, last)
    remaining = [t for t in tokens[keep_first : keep_last + 1] if not first <= t.i <= last and t.dep != "punct"]
    if first <= last < len(tokens) - 1:
        after = tokens[last + 1]
        if (
            after.dep in ("mark", "acl", "relcl", "advcl", "neg")
            or first == 0
            or tokens[last].dep == "cc"
            # Other words may hang on what was taken out: "(opening a hydrant) spewing water".
            or after.tag not in _RESUMING
            # "(A woman sits on a motorcycle) with a sidecar".
            or after.text == "with"
            # "(A red ball) at end".
            or (after.tag == "IN" and _is_bare_place(parsed, after))
        ):
            return None
    if not remaining or remaining[-1].tag in _DANGLING or not _is_complete_without(remaining, name):
        return None
    if not _is_sure(parsed, remaining) or not _ends_well(parsed, remaining[-1]):
        return None
    if (
        remaining[-1].text.lower() in words.PRONOUNS
        or _is_part(parsed, remaining[-1])
        # "Two peanut butter (and jelly sandwiches)".
        or any(is_miscounted(parsed, token) for token in remaining)
        or any(t.i > last and t.text.lower() in _IT for t in remaining)
    ):
        return None
    caption = parsed.caption
    end = len(split_end(caption)[0])
    begin, stop = tokens[keep_first].start, min(tokens[keep_last].end, end)
    if first > last:
        before, after = caption[begin:stop], ""
    else:
        before, after = caption[begin : tokens[first].start], caption[tokens[last].end : stop]
    # "A dog running and no ball" halts; "a dog running, but there is no ball" does not.
    ends_in_verb = remaining[-1].tag in ("VBG", "VBN", "RB", "RP") or remaining[-1].text.endswith("ing")
    is_finite = any(token.tag in ("VBZ", "VBP", "VBD", "MD") for token in remaining)
    # "A boy eating food, but no dog" reads as if he ate none.
    has_object = any(
        token.tag == "VBG" and token.dep != "amod" and parsed.kid(token.i, "dobj", "prep") >= 0 for token in remaining
    )
    is_clause = ends_in_verb or has_object or is_finite and keep_first == 0
    # "(Posing with pizzas) in boxes": the boxes may be those of the pizzas.
    resumes = is_with and last + 1 < len(tokens) and tokens[last + 1].tag != "IN"
    place = (before.rstrip(), after.lstrip()) if resumes else None
    text = tidy(f"{before} {after}")
    # "(Two dogs) nussle one another": a pronoun hangs on a verb that the parser did not see.
    if not is_clause and any(
        token.tag in ("PRP", "WP", "WDT") or token.text.lower() == "another" for token in remaining
    ):
        return None
    # "A tower sitting, but there is no dog" breaks off; "a dog sleeping, but there is no cat" does not.
    # Nor does "three animals lay" end there.
    if remaining[-1].text.lower() == "lay":
        return None
    if ends_in_verb and not is_finite and (remaining[-1].lemma in words.POSTURES or not _is_being(remaining)):
        return None
    # What stands between marks belongs together in ways that the parse seldom gets right.
    if _MARKS.search(text):
        return None
    # "A woman stands without a banana" is true beside bananas that she does not hold.
    has = tokens[noun].dep == "dobj" and is_person(_first_noun(remaining).lemma)
    has_owner = has or (is_with and not _is_elsewhere(parsed, noun))
    return Core(text, is_clause, has_owner, place)


def _is_elsewhere(parsed: Parsed, noun: int) -> bool:
    """Return whether a thing has a place of its own: "(a kid with) a kite in the sky in the background"."""
    return parsed.kid(noun, "prep") >= 0


def _is_bare_place(parsed: Parsed, preposition) -> bool:
    noun = parsed.kid(preposition.i, "pobj")
    return noun >= 0 and parsed.tokens[noun].lemma in words.NO_OBJECT and not parsed.children[noun]


def _is_part(parsed: Parsed, noun) -> bool:
    """Return whether it is a part of somebody, which needs more words: "with its mouth (open)"."""
    return noun.lemma in words.NO_OBJECT and parsed.kid(noun.i, "poss") >= 0


def _ends_well(parsed: Parsed, end) -> bool:
    """Return whether nothing is missing behind the last word: "a person in black sits", "holding (onto a bike)"."""
    after = parsed.tokens[end.i + 1 : end.i + 2]
    if after and after[0].text.lower() in words.DESCRIBING:
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
    subject = parsed.kid(top.i, "nsubj", "nsubjpass", "expl")
    return subject in kept and (parsed.tokens[subject].dep == "expl" or is_thing(parsed.tokens[subject]))


def _first_noun(remaining: list):
    return next(token for token in remaining if token.tag[:2] == "NN" and token.dep != "compound")


def _is_being(remaining: list) -> bool:
    first = _first_noun(remaining).lemma
    return is_person(first) or first in _ANIMALS | words.COLLECTIVES


def _is_complete_without(remaining: list, name: str) -> bool:
    nouns = [t for t in remaining if t.tag[:2] == "NN"]
    return bool(nouns) and not any(may_corefer(t.lemma.lower(), name) for t in nouns)


def _cut(parsed: Parsed, noun: int) -> tuple[int, int, int, int, bool] | None:
    """First and last token to keep, first and last of those to remove among them, and whether "with" brings it in."""
    tokens = parsed.tokens
    token = tokens[noun]
    whole = (0, len(tokens) - 1)
    while token.dep == "pobj" and tokens[token.head].text.lower() == "of":
        above = tokens[tokens[token.head].head]
        if above.tag[:2] != "NN":
            break
        token = above
    if token.dep == "pobj":
        base = tokens[token.head]
        if base.dep == "agent":
            return None
        while tokens[base.head].tag in _LINKS and base.head != base.i:
            base = tokens[base.head]
        governor = tokens[base.head]
        if governor.tag[:2] == "NN":
            if governor.i > base.i:
                return None
            return *whole, base.left, base.right, base.text == "with" and base.i == base.left
        if governor.tag[:2] != "VB" or governor.lemma == "be" or base.i < governor.i:
            return _subject_alone(parsed, governor) if base.i > governor.i else None
        thing = parsed.kid(governor.i, "dobj")
        # "Pokes his head (out of the water)": the part of a body asks for it.
        has_object = thing >= 0 and tokens[thing].lemma not in words.NO_OBJECT
        # "Crossed with skis": the verb asks for it.
        if base.text == "with" and governor.tag == "VBN":
            return None
        free = has_object or (governor.lemma in words.FREE_VERBS and governor.tag != "VBN")
        if free and governor.lemma not in words.BINDING_VERBS:
            return *whole, base.left, base.right, base.text == "with" and base.i == base.left
        return _without_verb(parsed, governor)
    if token.dep == "dobj":
        return _without_verb(parsed, tokens[token.head])
    if token.dep == "conj":
        return _without_conjunct(parsed, token)
    return None


def _take_along(parsed: Parsed, last: int) -> int:
    """What only the removed thing bore out goes with it: "(a stick) in its mouth", "(a pack) on"."""
    tokens = parsed.tokens
    if last + 1 >= len(tokens) or tokens[last + 1].tag not in ("IN", "RP") or tokens[last + 1].dep == "mark":
        return last
    after = tokens[last + 1]
    noun = parsed.kid(after.i, "pobj")
    if after.left == after.right == after.i and after.text in ("on", "off"):
        return after.i
    if noun >= 0 and tokens[noun].lemma in words.NO_OBJECT and parsed.kid(noun, "poss") >= 0:
        return after.right
    return last


def _without_verb(parsed: Parsed, verb) -> tuple[int, int, int, int, bool] | None:
    tokens = parsed.tokens
    while verb.dep == "xcomp":
        verb = tokens[verb.head]
    whole = (0, len(tokens) - 1)
    if verb.dep == "acl" and verb.i > verb.head:
        return *whole, verb.left, verb.right, False
    if verb.dep == "advcl" and verb.left > verb.head and verb.tag == "VBG":
        return *whole, verb.left, verb.right, False
    if verb.dep == "conj" and tokens[verb.head].tag[:2] == "VB":
        if tokens[verb.left - 1].dep == "cc" and tokens[verb.left - 1].head == verb.head:
            return *whole, verb.left - 1, verb.right, False
        return None
    return _subject_alone(parsed, verb)


def _subject_alone(parsed: Parsed, verb) -> tuple[int, int, int, int, bool] | None:
    """Keeps the subject's noun phrase of a main verb."""
    subject = parsed.kid(verb.i, "nsubj", "nsubjpass")
    if subject < 0 or verb.dep != "ROOT":
        return None
    token = parsed.tokens[subject]
    if leads_on(parsed.tokens, token):
        return None
    if token.tag[:2] != "NN" or token.lemma in words.NO_OBJECT and parsed.tokens[token.right].i == subject:
        return None
    right = min(token.right, verb.i - 1)
    return token.left, right, right + 1, right, False


def _without_conjunct(parsed: Parsed, token) -> tuple[int, int, int, int, bool] | None:
    tokens = parsed.tokens
    first = tokens[token.head]
    cc = token.left - 1
    if cc < 1 or tokens[cc].dep != "cc" or tokens[cc].text.lower() != "and" or parsed.kid(token.i, "conj") >= 0:
        return None
    if first.tag[:2] != "NN" or first.dep == "conj" or any(t.text.lower() in _SHARED for t in tokens):
        return None
    if first.dep in ("nsubj", "nsubjpass"):
        return first.left, cc - 1, cc, cc - 1, False
    return 0, len(tokens) - 1, cc, token.right, False


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
_PLACE_FRAMES = (
    ("without", "{before} without {a} {after}"),
    ("with-no", "{before} with no {no} {after}"),
) * 3
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
_HYBRID_WITHOUT_FRAMES = (("without", "{one} without {a}"),)
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
    # Neither earrings nor sheep are "without a bicycle"; a man is.
    has = [is_person(other.name) for other in (pair, *others)]
    if goes_along(absent) and has[0] and not any(has[1:]) and all(goes_along(other.name) for other in others):
        frames += _HYBRID_WITHOUT_FRAMES
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
    # "One man (playing a guitar) while another plays a cello": the one is not all.
    one_of_some = parsed.tokens[0].text.lower() == "one" and any(
        token.text.lower() in ("another", "other") for token in parsed.tokens
    )
    if bare >= _BARE_SHARE and not one_of_some:
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
            if core.place and core.place[1]:
                frames += _PLACE_FRAMES
    rule, template = frames[int(which * len(frames))]
    return Frame(rule, template, core, number < _PLURAL_SHARE, _PICTURES[int(picture * 4)])


def _other_thing(parsed: Parsed, pair: Pair, rng: random.Random) -> Core | None:
    """Return another thing of the caption, in place of a rest that makes no sense without `pair`."""
    others = [
        other
        for other in parsed.pairs
        if other.kind == "object" and not may_corefer(other.name, pair.name) and _stands_alone(parsed, other.token)
    ]
    # "A grass (and snow covered plain)": the parse is wrong.
    others = [other for other in others if not (is_mass(other.name) and _has_article(parsed, other.token))]
    if not others:
        return None
    other = others[int(rng.random() * len(others))]
    text = parsed.text(parsed.phrase(other.token))
    before = parsed.tokens[parsed.tokens[other.token].left : other.token]
    if any(token.tag == "PRP$" or token.tag[:2] == "NN" and token.dep != "compound" for token in before):
        return None
    # "The rain holding umbrellas": the parse is wrong.
    if any(
        token.tag == "VBG" and (token.dep != "amod" or before[0] is not token and token.i > before[0].i + 1)
        for token in before
    ):
        return None
    if _MARKS.search(text) or any(may_corefer(word, pair.name) for word in text.lower().split()):
        return None
    return Core(text, False)


def _has_article(parsed: Parsed, noun: int) -> bool:
    return parsed.tokens[parsed.tokens[noun].left].text.lower() in ("a", "an")


def _stands_alone(parsed: Parsed, noun: int) -> bool:
    """ "His hat" needs somebody before it, "other boats" something else."""
    tokens = parsed.tokens
    kids = [tokens[k] for k in parsed.children[noun]]
    if any(kid.dep == "poss" or kid.text.lower() in _POINTING for kid in kids):
        return False
    # "(A bull, giraffe and) parakeet": the article of a list is before its first noun.
    bare = tokens[noun].tag == "NN" and not any(kid.dep in ("det", "nummod") for kid in kids)
    return not bare or is_mass(tokens[noun].text.lower()) or not any(token.dep == "det" for token in tokens)


def _fill(
    parsed: Parsed, frame: Frame, pair: Pair, name: str, negation_type: str, one: str = "", one_many: bool = False
) -> Negation:
    caption = parsed.caption
    # "No beaches" would describe many images, "no beach" one.
    core, many = frame.core, frame.many and not is_place(name)
    text = frame.template.format(
        core=core.text if core else "",
        before=core.place[0] if core and core.place else "",
        after=core.place[1] if core and core.place else "",
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
