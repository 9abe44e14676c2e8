"""The things a caption names: what may be denied, and under which name."""

from conclip.negation.grammar.parsed import Pair, Parsed
from conclip.negation.lexicon import words
from conclip.negation.lexicon.morphology import PLURAL_ONLY, is_person, singular

_OBJECT_DEPS = frozenset({"ROOT", "nsubj", "nsubjpass", "dobj", "pobj", "conj", "attr", "dative", "appos", "oprd"})


def leads_on(tokens: list, noun) -> bool:
    """Whether the next word belongs to the noun's name, or makes it part of a description."""
    if noun.i + 1 >= len(tokens):
        return False
    after = tokens[noun.i + 1]
    return after.text.lower() in words.DESCRIBING or (after.tag[:2] == "NN" and after.dep != "appos")


def object_pair(parsed: Parsed, noun) -> Pair | None:
    """The thing that token `noun` names, as a pair that may be denied; None if there is none."""
    tokens = parsed.tokens
    low = noun.text.lower()
    if noun.dep not in _OBJECT_DEPS or len(low) < 3 or not low.replace("-", "").isalpha():
        return None
    if noun.tag[:3] == "NNP" and not noun.text.islower():
        return None
    if low.endswith("ing") and low not in words.THINGS_IN_ING:
        return None
    if leads_on(tokens, noun):
        return None
    head = singular(low) if noun.tag[-1] == "S" and low not in words.NO_OBJECT else low
    if head in words.NO_OBJECT or low in words.NO_OBJECT or head in words.PRONOUNS:
        return None
    first = noun.i
    for k in reversed(parsed.children[noun.i]):
        if k >= noun.i:
            continue
        kid = tokens[k]
        if kid.dep == "det" and kid.text.lower() in ("a", "an") and noun.tag == "NNS" and low not in PLURAL_ONLY:
            return None
        if kid.dep == "compound" and kid.text.lower() in words.COLORS:
            break
        if kid.dep == "compound" and k == first - 1 and kid.text.isalpha() and kid.left == k:
            first = k
        elif kid.text.lower() in words.UNREAL or (kid.text.lower(), head) in words.FIXED_NAMES:
            return None
        elif kid.text.lower() == "no":
            return None
    if _unseen(parsed, noun) or (first < noun.i and is_person(tokens[first].text.lower())):
        return None
    if first < noun.i - 2:
        return None
    name = " ".join([tokens[k].text.lower() for k in range(first, noun.i)] + [head])
    span = (tokens[first].start, noun.end)
    return Pair("object", "noun", parsed.phrase(noun.i), None, None, (), span, noun.i, noun.head, name)


def _unseen(parsed: Parsed, noun) -> bool:
    """Whether the caption does not say that the thing is there: "looking for food", "a statue of a man"."""
    tokens = parsed.tokens
    while noun.head != noun.i:
        head = tokens[noun.head]
        if noun.dep == "pobj":
            if head.text.lower() in words.UNSEEN_PREPOSITIONS:
                return True
            if head.text.lower() == "of" and tokens[head.head].lemma in words.PICTURES:
                return tokens[head.head].dep != "ROOT" or tokens[head.head].lemma in ("statue", "sculpture", "toy")
        if noun.tag == "VB" and any(tokens[k].tag == "TO" for k in parsed.children[noun.i]):
            return True
        noun = head
    return False
