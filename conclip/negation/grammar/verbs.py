"""Verbs: what a subject does ("is riding", "rides", "riding"), or is ("is red", "is on a bench")."""

from conclip.negation.grammar.noun_phrases import SUBJECT_DEPS, first_noun, is_miscounted, is_plural, is_thing
from conclip.negation.grammar.pairs import Pair, Parsed
from conclip.negation.grammar.tokens import Token, may_be_verb
from conclip.negation.lexicon import words
from conclip.negation.lexicon.inflection import singular
from conclip.negation.lexicon.nouns import is_visible

_FINITE = frozenset({"VBZ", "VBP", "VBD"})
# Clauses that do not describe the subject here and now ("before diving", "if …").
_MARKS = frozenset("as because if before after until when although though since so that".split())


def verb_pair(parsed: Parsed, verb: Token) -> Pair | None:
    """
    Return the verb with its subject and its object, as a pair that may be negated; None if a negation is not sure.

    A form of "be" gives an attribute if an adjective or a noun follows ("is red"), a relation if a preposition does.
    """
    tokens = parsed.tokens
    if verb.dep == "relcl" and _lacks_pronoun(parsed, verb):
        return None
    if verb.dep in ("aux", "auxpass", "compound", "pcomp", "xcomp", "csubj", "npadvmod", "pobj", "dobj", "intj"):
        return None
    found = _subject_and_auxiliaries(parsed, verb)
    if found is None:
        return None
    subject, auxiliary, being = found
    if auxiliary >= 0:
        if subject < 0 and verb.dep not in ("conj", "relcl"):
            return None
        construction, token = "auxiliary", auxiliary
    elif verb.tag in _FINITE or verb.tag == "VB":
        construction, token = _finite(parsed, verb, subject), verb.i
    else:
        construction, token = _participle(parsed, verb, subject), being if being >= 0 else verb.i
    if construction is None:
        return None
    head = subject if subject >= 0 else verb.head if verb.head != verb.i else -1
    # Only of the noun that the caption begins with is it sure that the participle describes it.
    if construction == "participle" and head != first_noun(tokens):
        return None
    if (
        head >= 0
        and tokens[head].tag[:2] == "NN"
        and (not is_thing(tokens[head]) or is_miscounted(parsed, tokens[head]))
    ):
        return None
    kind = "verb"
    if verb.lemma == "be" and construction == "copula":
        if parsed.kid(verb.i, "acomp", "attr") >= 0:
            kind = "attribute"
        elif parsed.kid(verb.i, "prep") >= 0:
            kind = "relation"
        else:
            return None
    return _make_pair(parsed, kind, construction, verb.i, token, head)


def _subject_and_auxiliaries(parsed: Parsed, verb: Token) -> tuple[int, int, int] | None:
    """
    Return the indices of the subject, of the finite auxiliary ("is") and of the participle before the verb ("being").

    -1 for what there is not. None if a word that belongs to the verb makes its negation unsure.
    """
    subject = auxiliary = being = -1
    for k in parsed.children[verb.i]:
        kid = parsed.tokens[k]
        if kid.dep in SUBJECT_DEPS and k < verb.i:
            subject = k
        elif kid.dep in ("aux", "auxpass"):
            # Nobody can tell whether "they could not be nearby" is false.
            if kid.text.lower() in ("may", "might", "could", "would", "should", "must"):
                return None
            if kid.tag in _FINITE or kid.tag == "MD":
                auxiliary = k if auxiliary < 0 else auxiliary
            elif kid.tag == "VBG":
                being = k
            elif auxiliary < 0:
                return None
        elif kid.dep == "advmod" and kid.text.lower() in words.SCOPE_ADVERBS:
            return None
        elif kid.dep in ("mark", "advmod") and verb.dep == "advcl" and kid.text.lower() in _MARKS:
            return None
        # "Not smiling but laughing" says that they do more than smile.
        elif kid.dep == "neg" or kid.dep == "conj" and k > verb.i:
            return None
    return subject, auxiliary, being


def _lacks_pronoun(parsed: Parsed, verb: Token) -> bool:
    """Return whether a relative clause has a subject of its own and no "that": "(the exercise) it provides"."""
    subject = parsed.kid(verb.i, *SUBJECT_DEPS)
    return subject >= 0 and parsed.tokens[subject].tag not in ("WDT", "WP") and subject == verb.left


def _make_pair(parsed: Parsed, kind: str, construction: str, verb: int, token: int, head: int) -> Pair:
    """Return the pair of a verb: `token` is the verb or its auxiliary, `head` the noun or verb that it belongs to."""
    tokens = parsed.tokens
    obj = parsed.kid(verb, "dobj", "attr", "acomp")
    modifiers = tuple(
        parsed.subtree(k) for k in parsed.children[verb] if tokens[k].dep in ("prep", "advmod", "prt", "agent")
    )
    span = (tokens[min(token, verb)].start, tokens[verb].end)
    subject = parsed.phrase(head) if head >= 0 and tokens[head].tag[:2] != "VB" else None
    return Pair(
        kind, construction, subject, span, parsed.subtree(obj) if obj >= 0 else None, modifiers, span, token, head
    )


def _finite(parsed: Parsed, verb: Token, subject: int) -> str | None:
    """Return the construction of a verb that is tagged as finite and has no auxiliary; None if it is not sure."""
    tokens = parsed.tokens
    head = tokens[verb.head]
    if subject >= 0 and tokens[subject].tag == "JJ":
        # "Large made up bed": no adjective does something.
        return None
    if subject < 0:
        # A verb without a subject is most often a noun, or a participle, that the tagger mistook.
        if verb.dep == "acl" and verb.tag == "VBD":
            return "participle"
        # "(An elephant walks past) rocks boulders": nothing joins a verb here.
        before = tokens[tokens[verb.i].left - 1]
        joined = before.dep in ("cc", "punct") or before.tag[:2] == "RB"
        shares = verb.dep == "conj" and joined and head.tag == verb.tag and verb.lemma != "be"
        return "finite" if shares and verb.tag != "VB" and parsed.kid(head.i, *SUBJECT_DEPS) >= 0 else None
    # "(Faces to help) people know what to do": a verb below another one need not be finite.
    if tokens[subject].dep == "expl" or verb.dep == "ccomp":
        return None
    if tokens[subject].tag[:2] == "NN":
        several = is_plural(parsed, subject)
        collective = tokens[subject].lemma in words.COLLECTIVES
        if verb.tag == "VBZ" and several and tokens[subject].tag == "NNS":
            return None
        if verb.tag in ("VBP", "VB") and not several and not collective:
            return None
    if verb.lemma == "be":
        return "copula"
    # "(A giraffe walks towards) a group trees", "(a boy in) black waves": a word that is used as a noun too is a verb
    # only between its subject and what belongs to a verb.
    after = tokens[verb.i + 1 : verb.i + 2]
    if is_visible(singular(verb.text.lower())) and (
        verb.i - 1 != subject or not after or after[0].tag not in ("DT", "PRP$", "IN", "RP", "TO", "RB")
    ):
        return None
    # "(A bedroom done in) animal prints": only the commonest verbs are sure behind another noun.
    before = tokens[verb.i - 1]
    if verb.tag == "VBZ" and before.tag[:2] == "NN" and before.i != subject and not may_be_verb(verb):
        return None
    if verb.tag == "VBD" and parsed.kid(verb.i, "dobj") < 0:
        if verb.lemma in words.STATIVE:
            return None if _describes_another(parsed, verb, tokens[subject]) else "participle"
        # "(People) packed into a boat": as often as not a participle.
        if verb.text.endswith("ed"):
            return None
    return "finite"


def _describes_another(parsed: Parsed, verb: Token, noun: Token) -> bool:
    """Return whether a participle may describe the word before it: "a room with walls painted beige"."""
    before = parsed.tokens[verb.i - 1]
    return before.tag == "NNS" and not is_plural(parsed, noun.i) and noun.lemma not in words.COLLECTIVES


def _participle(parsed: Parsed, verb: Token, subject: int) -> str | None:
    """Return "participle" if the verb is one that describes its subject, or the noun before it; None if not sure."""
    tokens, head = parsed.tokens, parsed.tokens[verb.head]
    # Dogs that bound are not bound.
    if verb.text.lower() == "bound":
        return None
    # "Two dogs run": the tagger takes it for the participle.
    if verb.tag == "VBN" and verb.text.lower() == verb.lemma and parsed.kid(verb.i, "auxpass", "aux") < 0:
        return None
    if _describes_another(parsed, verb, tokens[subject] if subject >= 0 else head):
        return None
    # "A horse drawn carriage".
    after = tokens[verb.i + 1 : verb.i + 2]
    if verb.tag != "VBG" and (not after or after[0].tag not in ("IN", "TO", "RP")):
        return None
    if subject >= 0:
        return "participle" if verb.dep in ("ROOT", "ccomp", "acl", "conj", "relcl") else None
    beside = verb.tag == "VBG" or verb.i == head.i + 1
    return "participle" if verb.dep == "acl" and head.tag[:2] == "NN" and beside else None
