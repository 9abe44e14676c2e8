"""Attributes: how a thing looks ("red", "wooden", "black and white")."""

from conclip.negation.grammar.noun_phrases import COMMON_NOUNS, PHRASE_DEPS, leads_on
from conclip.negation.grammar.pairs import Pair, Parsed
from conclip.negation.grammar.tokens import Token, may_be_verb
from conclip.negation.lexicon import words
from conclip.negation.lexicon.inflection import is_person
from conclip.negation.lexicon.nouns import is_known


def attribute_pair(parsed: Parsed, adjective: Token) -> Pair | None:
    """Return an adjective of `words.LOOKS`, or two colours, alone between a determiner and a known noun."""
    tokens = parsed.tokens
    noun = tokens[adjective.head]
    first, last = adjective.left, adjective.right
    named = [token.text.lower() for token in tokens[first : last + 1]]
    if noun.tag not in COMMON_NOUNS or last + 1 != noun.i or noun.dep not in PHRASE_DEPS:
        return None
    if not set(named) <= words.LOOKS and not (len(named) == 3 and set(named) <= words.COLORS | {"and"}):
        return None
    if (named[0], noun.lemma) in words.FIXED_NAMES or not (is_known(noun.lemma) or noun.lemma == "hair"):
        return None
    before = tokens[noun.left : first]
    if not all(token.dep in ("det", "poss", "nummod") or token.text.lower() in words.LOOKS for token in before):
        return None
    # "(A boy in) black waves": bare, it is the noun of a phrase only where it cannot be a verb.
    if noun.tag == "NNS" and before and before[0].text.lower() in ("a", "an", "this"):
        return None
    determined = bool(before) and before[0].dep in ("det", "poss", "nummod") or noun.left == 0
    if not determined and (noun.tag != "NNS" or may_be_verb(noun)):
        return None
    if tokens[max(0, noun.left - 1)].dep == "cc" or leads_on(tokens, noun):
        return None
    person = is_person(noun.lemma)
    # "A child who is not young" contradicts itself.
    if person and (
        words.COLORS & set(named) or named[0] == "young" and noun.lemma in words.CHILDREN | {"boy", "girl"}
    ):
        return None
    after = tokens[noun.i + 1 : noun.i + 2]
    own = [k for k in parsed.children[noun.i] if k > noun.i and tokens[k].dep != "punct"]
    # What follows the noun would be parted from it: "(a motorcycle) on display", "(a dog) 's tail".
    if own and (
        own != [noun.i + 1] or not (after[0].tag == "VBG" and after[0].dep == "acl" or _is_place(parsed, after[0]))
    ):
        return None
    if after and not own and after[0].tag not in ("IN", "TO", "VBZ", "VBP", "VBD", "VBG", ".", ",", "_SP"):
        return None
    span = parsed.subtree(adjective.i)
    return Pair("attribute", "adjective", parsed.phrase(noun.i), span, None, (), span, adjective.i, noun.i)


def _is_place(parsed: Parsed, preposition: Token) -> bool:
    """Return whether a preposition of place has a noun with its article: "on a chair", and not "on display"."""
    noun = parsed.kid(preposition.i, "pobj")
    return preposition.text in words.PLACE | {"with"} and noun >= 0 and parsed.kid(noun, "det", "poss") >= 0
