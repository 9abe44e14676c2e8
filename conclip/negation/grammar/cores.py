"""What is left of a caption when one thing is taken out: "a man rides a horse" without the horse is "a man"."""

from dataclasses import dataclass

from conclip.negation.grammar.noun_phrases import SUBJECT_DEPS, is_miscounted, is_thing, leads_on
from conclip.negation.grammar.pairs import Parsed
from conclip.negation.grammar.tokens import Token, is_last, is_plain, may_be_verb
from conclip.negation.lexicon import words
from conclip.negation.lexicon.inflection import is_person
from conclip.negation.lexicon.names import may_corefer
from conclip.negation.lexicon.nouns import is_known

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
    # "Three animals lay, but there is no dog" breaks off.
    if end.text.lower() == "lay":
        return None
    # So does "a tower sitting, but there is no dog"; "a dog sleeping, but there is no cat" does not.
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


def _is_part(parsed: Parsed, noun: Token) -> bool:
    """Return whether it is a part of somebody, which needs more words: "with its mouth (open)"."""
    return noun.lemma in words.NO_OBJECT and parsed.kid(noun.i, "poss") >= 0


def _ends_well(parsed: Parsed, end: Token) -> bool:
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


def _is_sure(parsed: Parsed, remaining: list[Token]) -> bool:
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


def _first_noun(remaining: list[Token]) -> Token:
    """Return the first noun that is no part of another's name."""
    return next(token for token in remaining if token.tag[:2] == "NN" and token.dep != "compound")


def _is_being(remaining: list[Token]) -> bool:
    """Return whether the first noun is a person, an animal or a group of them."""
    first = _first_noun(remaining).lemma
    return is_person(first) or first in _ANIMALS | words.COLLECTIVES


def _is_complete_without(remaining: list[Token], name: str) -> bool:
    """Return whether the words that are left name a thing, and none of them names the one taken out."""
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


def _without_end(tokens: list[Token], phrase: Token, is_with: bool = False) -> tuple[int, int, bool] | None:
    """Keep what is before a phrase with which the caption ends."""
    # "(Boys sit) cross legged in front of a sign".
    if (
        not is_last(tokens, phrase.right)
        or tokens[phrase.left].tag == "JJ"
        and tokens[phrase.left].text.endswith("ed")
    ):
        return None
    return 0, phrase.left - 1, is_with


def _without_verb(parsed: Parsed, verb: Token) -> tuple[int, int, bool] | None:
    """Keep what is before a clause with which the caption ends, or the subject of its main verb."""
    tokens = parsed.tokens
    while verb.dep == "xcomp":
        verb = tokens[verb.head]
    if verb.dep == "acl" and verb.i > verb.head or verb.dep == "advcl" and verb.left > verb.head and verb.tag == "VBG":
        return _without_end(tokens, verb)
    return _subject_alone(parsed, verb)


def _subject_alone(parsed: Parsed, verb: Token) -> tuple[int, int, bool] | None:
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


def _without_conjunct(parsed: Parsed, token: Token) -> tuple[int, int, bool] | None:
    """Keep what is before "and" and the thing: "a man (and a dog)"."""
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
