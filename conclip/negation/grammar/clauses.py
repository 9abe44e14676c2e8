"""Parts of sentences that several forms share: scope, relative clauses, quantified subjects."""

from conclip.negation.grammar.parse import is_plural
from conclip.negation.grammar.parsed import Pair, Parsed
from conclip.negation.grammar.text import Edit
from conclip.negation.lexicon import words
from conclip.negation.lexicon.morphology import takes_who

Form = tuple[str, list[Edit]]  # rule, edits of the caption


def is_last(parsed: Parsed, token: int) -> bool:
    return all(t.dep == "punct" or t.tag == "_SP" for t in parsed.tokens[token + 1 :])


def before_adverbs(parsed: Parsed, verb: int, first: int | None = None) -> int:
    """Index of the first of the adverbs that stand right before the verb (or before `first`, its auxiliary)."""
    first = verb if first is None else first
    while first and parsed.tokens[first - 1].dep == "advmod" and parsed.tokens[first - 1].head == verb:
        if parsed.tokens[first - 1].tag != "RB" or parsed.tokens[first - 1].left != first - 1:
            break
        first -= 1
    return first


def scope_edits(parsed: Parsed, verb: int) -> list[Edit]:
    """What changes behind a "not": "some" becomes "any", and "and" before a verb that stays true becomes "but"."""
    tokens = parsed.tokens
    edits = []
    conjuncts = [k for k in parsed.children[verb] if tokens[k].dep == "conj" and k > verb]
    stop = tokens[conjuncts[0]].left if conjuncts else tokens[verb].right + 1
    for token in tokens[verb + 1 : stop]:
        if token.dep == "det" and token.text == "some":
            edits.append((token.start, token.end, "any"))
    if len(conjuncts) == 1 and tokens[conjuncts[0]].tag[:2] == "VB":
        kid = tokens[conjuncts[0]]
        alone = parsed.kid(kid.i, "nsubj", "nsubjpass", "expl", "conj") < 0
        for k in parsed.children[verb]:
            if tokens[k].dep == "cc" and tokens[k].text == "and" and verb < k < kid.i and alone:
                edits.append((tokens[k].start, tokens[k].end, "but"))
    return edits


def either_edits(parsed: Parsed, noun: int) -> list[Edit]:
    """ "and" among the things a "without" takes away becomes "or"."""
    tokens = parsed.tokens
    edits = []
    while noun >= 0:
        edits += [
            (tokens[k].start, tokens[k].end, "or")
            for k in parsed.children[noun]
            if tokens[k].dep == "cc" and tokens[k].text == "and" and k > noun
        ]
        noun = parsed.kid(noun, "conj")
    return edits


def relative(parsed: Parsed, noun: int) -> str | None:
    """ "who is", "that are" … for a noun that a relative clause can safely follow."""
    token = parsed.tokens[noun]
    low = token.lemma.lower()
    if noun < 0 or token.tag not in ("NN", "NNS") or token.dep not in ("ROOT", "nsubj", "nsubjpass", "dobj", "pobj"):
        return None
    person = takes_who(low)
    if not person and token.dep not in ("ROOT", "nsubj") or low in words.NO_OBJECT:
        return None
    if any(parsed.tokens[k].dep in ("conj", "relcl") for k in parsed.children[noun]):
        return None
    return f"{'who' if person else 'that'} {'are' if is_plural(parsed, noun) else 'is'}"


def is_quantified(parsed: Parsed, noun: int) -> bool:
    """Whether "not" after this subject could leave the sentence true: "some dogs are not running"."""
    if noun < 0:
        return False
    if parsed.tokens[noun].text.lower() in words.INDEFINITE_PRONOUNS:
        return True
    return any(
        parsed.tokens[k].text.lower() in words.QUANTIFIERS
        for k in parsed.children[noun]
        if k < noun and parsed.tokens[k].dep in ("det", "amod", "nummod", "predet")
    )


def no_subject(parsed: Parsed, pair: Pair, scope: list[Edit]) -> list[Form]:
    tokens = parsed.tokens
    if pair.head < 0 or tokens[pair.head].dep not in ("nsubj", "nsubjpass"):
        return []
    noun = tokens[pair.head]
    low = noun.text.lower()
    if any(text == "but" for _, _, text in scope):
        if not is_quantified(parsed, pair.head):
            return []
        scope = [edit for edit in scope if edit[2] != "but"]
    if low in words.INDEFINITE_PRONOUNS:
        return [("no-subject", [(noun.start, noun.end, words.INDEFINITE_PRONOUNS[low]), *scope])]
    if noun.tag not in ("NN", "NNS") or noun.lemma in words.NO_OBJECT:
        return []
    if any(tokens[k].dep in ("conj", "poss") for k in parsed.children[noun.i]):
        return []
    first, last = tokens[noun.left], noun.left
    while tokens[last].text.lower() in words.QUANTIFIERS or tokens[last].text.lower() in ("a", "an", "the"):
        last += 1
    if first.text.lower() == "the" or last > noun.i:
        return []
    if last > first.i:
        edit = (first.start, tokens[last - 1].end, "no")
    elif first.dep == "nummod":
        edit = (first.start, first.end, "no")
    elif noun.tag == "NNS":
        edit = (first.start, first.end, f"no {first.text.lower()}")
    else:
        return []
    return [("no-subject", [edit, *scope])]
