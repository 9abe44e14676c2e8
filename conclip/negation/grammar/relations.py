"""Relations: where something is, and what it has with it ("on a bench", "with a hat")."""

from conclip.negation.grammar.noun_phrases import first_noun, is_simple, is_thing
from conclip.negation.grammar.pairs import Pair, Parsed
from conclip.negation.grammar.tokens import Token, is_last
from conclip.negation.lexicon import words
from conclip.negation.lexicon.inflection import is_person


def relation_pair(parsed: Parsed, prep: Token) -> Pair | None:
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
        if governor.i != first_noun(tokens):
            return None
        if governor.lemma in words.NO_OBJECT and governor.lemma not in words.COLLECTIVES | {"hair", "gear"}:
            return None
        if not is_thing(governor) and not governor.text.endswith("ing"):
            return None
        construction = "with" if word == "with" else "noun-prep"
    elif governor.tag[:2] == "VB" and governor.lemma != "be":
        # "(A board) goes, but not over a ramp", "a TV sitting, but not on a bench": the place belongs to what is said.
        subject = parsed.kid(governor.i, "nsubj") if governor.dep != "acl" else governor.head
        alive = subject >= 0 and (is_person(tokens[subject].lemma) or tokens[subject].lemma in words.ANIMALS)
        if not is_last(tokens, base.right) or governor.lemma not in words.FREE_VERBS:
            return None
        if word != "with" and governor.lemma in words.POSTURES and not alive:
            return None
        if governor.tag == "VBN" and (word == "with" or governor.lemma in ("dress", "cover", "fill", "seat")):
            return None
        # "(A sign mounted), but not on a pole" breaks off; one does not make one's way without saying where.
        is_bare = governor.tag == "VBN" or governor.tag == "VBD" and governor.lemma in words.STATIVE
        if is_bare and parsed.kid(governor.i, "auxpass") < 0:
            return None
        if any(tokens[k].dep == "dobj" and tokens[k].lemma == "way" for k in parsed.children[governor.i]):
            return None
        # One has one's hand somewhere.
        if governor.lemma == "have" and word != "with":
            return None
        construction = "with" if word == "with" else "verb-prep"
    else:
        return None
    predicate = (tokens[base.left].start if base is not prep else base.start, prep.end)
    head = governor.i
    return Pair(
        "relation",
        construction,
        parsed.phrase(head) if construction != "verb-prep" and governor.tag[:2] == "NN" else None,
        predicate,
        parsed.subtree(noun),
        (),
        parsed.subtree(base.i),
        base.i,
        head,
    )
