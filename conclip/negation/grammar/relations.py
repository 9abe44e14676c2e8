"""Relations: where something is, and what it has with it ("on a bench", "with a hat")."""

from conclip.negation.grammar.noun_phrases import first_noun, is_simple, is_thing
from conclip.negation.grammar.pairs import Pair, Parsed
from conclip.negation.grammar.tokens import Token, is_last
from conclip.negation.lexicon import words
from conclip.negation.lexicon.inflection import is_person

# Words of `words.NO_OBJECT` that a phrase may describe all the same: "a group with flags".
_DESCRIBED = words.COLLECTIVES | {"hair", "gear"}


def relation_pair(parsed: Parsed, prep: Token) -> Pair | None:
    """Return a preposition with its noun, and what it belongs to, as a pair that may be negated; None if not sure."""
    tokens = parsed.tokens
    word = prep.text.lower()
    noun = parsed.kid(prep.i, "pobj")
    if prep.dep != "prep" or noun < 0 or tokens[noun].tag == "PRP":
        return None
    if prep.i and tokens[prep.i - 1].dep == "pobj" and tokens[prep.i - 1].tag[:2] not in ("NN", "PR"):
        return None
    # "(A girl posing with a crowd) in the background": of the two, the parse does not tell which.
    if tokens[noun].lemma in ("background", "foreground", "distance"):
        return None
    base = prep
    if tokens[prep.head].text.lower() in ("next", "close", "adjacent") and word == "to":
        base = tokens[prep.head]
    elif word != "with" and (word in words.NO_RELATION or word not in words.PLACE):
        return None
    # "(A puppy playfully) nips at a dog": a verb.
    if base.i > 1 and tokens[base.i - 1].tag[:2] == "NN" and tokens[base.i - 2].tag == "RB":
        return None
    governor = tokens[base.head]
    if governor.i > base.i or governor.i == base.i or tokens[base.left].text.lower() in ("all", "both", "only"):
        return None
    if tokens[noun].tag[:2] == "NN" and not is_thing(tokens[noun]):
        # "On top" and "in front" without "of" is no place; nor is a word that names nothing.
        if tokens[noun].lemma not in words.NO_OBJECT or not parsed.children[noun]:
            return None
    # Only the phrase directly behind what it belongs to is sure to belong to it.
    if base.left != governor.i + 1 or not is_simple(parsed, noun, *(("cc", "conj") if word == "with" else ())):
        return None
    if governor.tag[:2] == "NN":
        if not _noun_is_whole(parsed, governor):
            return None
        construction, subject = "noun-prep", parsed.phrase(governor.i)
    elif governor.tag[:2] == "VB" and governor.lemma != "be":
        if not is_last(tokens, base.right) or not _verb_is_whole(parsed, word, governor):
            return None
        construction, subject = "verb-prep", None
    else:
        return None
    return Pair(
        "relation",
        "with" if word == "with" else construction,
        subject,
        (tokens[base.left].start if base is not prep else base.start, prep.end),
        parsed.subtree(noun),
        (),
        parsed.subtree(base.i),
        base.i,
        governor.i,
    )


def _noun_is_whole(parsed: Parsed, noun: Token) -> bool:
    """Return whether a noun is the caption's first and names a thing without the phrase behind it."""
    if noun.i != first_noun(parsed.tokens):
        return False
    if noun.lemma in words.NO_OBJECT and noun.lemma not in _DESCRIBED:
        return False
    return is_thing(noun) or noun.text.endswith("ing")


def _verb_is_whole(parsed: Parsed, preposition: str, verb: Token) -> bool:
    """Return whether a verb makes sense without the phrase of a preposition: "a dog runs (on the beach)"."""
    tokens = parsed.tokens
    # "(A board) goes, but not over a ramp", "a TV sitting, but not on a bench": the place belongs to what is said.
    subject = parsed.kid(verb.i, "nsubj") if verb.dep != "acl" else verb.head
    alive = subject >= 0 and (is_person(tokens[subject].lemma) or tokens[subject].lemma in words.ANIMALS)
    if verb.lemma not in words.FREE_VERBS:
        return False
    if preposition != "with" and verb.lemma in words.POSTURES and not alive:
        return False
    if verb.tag == "VBN" and (preposition == "with" or verb.lemma in ("dress", "cover", "fill", "seat")):
        return False
    # "(A sign mounted), but not on a pole" breaks off.
    is_bare = verb.tag == "VBN" or verb.tag == "VBD" and verb.lemma in words.STATIVE
    if is_bare and parsed.kid(verb.i, "auxpass") < 0:
        return False
    # One does not make one's way without saying where.
    if any(tokens[k].dep == "dobj" and tokens[k].lemma == "way" for k in parsed.children[verb.i]):
        return False
    # One has one's hand somewhere.
    return verb.lemma != "have" or preposition == "with"
