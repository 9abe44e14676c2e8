"""NegCLIP's hard negatives: two nouns, noun phrases or adjectives of the caption change places."""

import random
import re

from conclip.negation.grammar.noun_phrases import first_noun, is_simple
from conclip.negation.grammar.pairs import Parsed
from conclip.negation.grammar.text import apply, fit_articles, fit_case
from conclip.negation.grammar.tokens import is_plain
from conclip.negation.lexicon import words
from conclip.negation.lexicon.inflection import is_mass, is_person
from conclip.negation.lexicon.names import may_corefer
from conclip.negation.rows import Negation, Span

# A thing is not under, over or behind what is under, over or behind it.
_ONE_WAY = frozenset("on onto in into inside under underneath over above below behind through atop".split())
# What one does to the other, the other does as well, or may well do.
_MUTUAL = frozenset(
    "kiss hug embrace face fight wrestle meet marry touch greet nuzzle resemble share watch race chase have".split()
)
_DOUBLED = re.compile(r"\b([a-z]+) \1\b", re.I)


def swap(parsed: Parsed, rng: random.Random) -> Negation | None:
    """Sample one swap that changes what the caption says (Yuksekgonul et al., ICLR 2023); None if there is none."""
    # These words point at one of the nouns: with another in its place, they would point at nothing.
    if any(token.text.lower() in words.POINTING for token in parsed.tokens) or not is_plain(parsed.tokens):
        return None
    kinds = [
        (rule, kind, found)
        for rule, kind, find in (
            ("swap-nouns", "object", _nouns),
            ("swap-adjectives", "attribute", _adjectives),
            ("swap-phrases", "object", _phrases),
        )
        if (found := find(parsed))
    ]
    if not kinds:
        return None
    rule, kind, found = kinds[int(rng.random() * len(kinds))]
    one, other = found[int(rng.random() * len(found))]
    caption = parsed.caption
    text = apply(caption, [(*one, _lower_first(parsed, other)), (*other, _lower_first(parsed, one))])
    text = fit_case(fit_articles(text, caption), caption)
    if _DOUBLED.search(text):
        return None
    target = f"{parsed.text(one)} / {parsed.text(other)}"
    return Negation(text, "swap", kind, rule, target, (one[0], other[1]), False)


def _lower_first(parsed: Parsed, span: Span) -> str:
    """The words of `span`, without the capital that only a sentence's beginning gave them."""
    text = parsed.text(span)
    is_first = span[0] == parsed.tokens[0].start and (
        parsed.tokens[0].tag[:3] != "NNP" or parsed.tokens[0].text.lower() in words.COLORS
    )
    return text[0].lower() + text[1:] if is_first and not text.partition(" ")[0][1:].isupper() else text


def _doer_and_object(parsed: Parsed) -> tuple | None:
    """
    Return the noun that a caption begins with and what its verb is about, as tokens, if they may change places.

    "A man rides a horse", "a cat sitting in a tree": the object hangs on the verb, by itself or by a preposition that
    holds one way alone.
    """
    tokens = parsed.tokens
    doer = first_noun(tokens)
    things = {pair.token for pair in parsed.pairs if pair.kind == "object"}
    verbs = [
        t
        for t in tokens
        if t.tag in ("VBZ", "VBP", "VBG") and t.lemma != "be" and doer in (t.head, *parsed.children[t.i])
    ]
    if doer not in things or len(verbs) != 1 or verbs[0].lemma in _MUTUAL:
        return None
    verb = verbs[0]
    noun = parsed.kid(verb.i, "dobj")
    if noun < 0:
        preposition = parsed.kid(verb.i, "prep")
        if preposition != verb.i + 1 or tokens[preposition].text not in _ONE_WAY:
            return None
        noun = parsed.kid(preposition, "pobj")
    if noun not in things or not is_simple(parsed, noun) or any(t.lemma == tokens[noun].lemma for t in tokens[:noun]):
        return None
    one, other = tokens[doer], tokens[noun]
    if one.tag != other.tag or may_corefer(one.lemma, other.lemma):
        return None
    # "A man holding onto a girl", "a man holding a rope": it may hold him.
    if verb.lemma == "hold" and (is_person(one.lemma) and is_person(other.lemma) or other.lemma in ("rope", "leash")):
        return None
    # "A plate (of cake)", "a knife (and fork)".
    after = [token.text.lower() for k in (one.i, other.i) for token in tokens[k + 1 : k + 2]]
    return None if {"of", "and", "or"}.intersection(after) else (one, other)


def _nouns(parsed: Parsed) -> list[tuple[Span, Span]]:
    found = _doer_and_object(parsed)
    if not found or _determiner(parsed, found[0]) != _determiner(parsed, found[1]):
        return []
    # "A horse eats a grass" is no English.
    if is_mass(found[0].lemma) != is_mass(found[1].lemma) and _determiner(parsed, found[0]) != "the":
        return []
    if any(parsed.kid(noun.i, "compound") >= 0 for noun in found):
        return []
    return [tuple((noun.start, noun.end) for noun in found)]


def _determiner(parsed: Parsed, noun) -> str:
    """Return whether a noun may replace another: both have the same kind of article, or none."""
    first = parsed.tokens[noun.left]
    if first.i == noun.i or first.dep not in ("det", "poss", "nummod"):
        return "none"
    if first.dep == "nummod":
        return "number"
    return "a" if first.text.lower() in ("a", "an") else "the"


def _phrases(parsed: Parsed) -> list[tuple[Span, Span]]:
    found = _doer_and_object(parsed)
    return [tuple(parsed.phrase(noun.i) for noun in found)] if found else []


def _adjectives(parsed: Parsed) -> list[tuple[Span, Span]]:
    """Return pairs of colours, or of sizes, of two things."""
    tokens = parsed.tokens
    found = [pair for pair in parsed.pairs if pair.construction == "adjective" and pair.kind == "attribute"]
    pairs = [(one, other) for n, one in enumerate(found) for other in found[n + 1 :]]
    return [
        (one.span, other.span)
        for one, other in pairs
        if _sort_of(parsed.text(one.span).lower()) == _sort_of(parsed.text(other.span).lower())
        and parsed.text(one.span).lower() != parsed.text(other.span).lower()
        and not may_corefer(tokens[one.head].lemma, tokens[other.head].lemma)
        and not any(is_person(tokens[pair.head].lemma) for pair in (one, other))
    ]


def _sort_of(adjective: str) -> str:
    """Return what an adjective tells: of two that tell the same of two things, each is true of one alone."""
    if adjective in words.COLORS:
        return "color"
    return "size" if adjective in words.SIZES else adjective
