"""Stage 3, sentence formation: the caption with one pair negated."""

import random

from conclip.negation.grammar.frames import negate_object
from conclip.negation.grammar.noun_phrases import is_plural
from conclip.negation.grammar.pairs import Pair, Parsed
from conclip.negation.grammar.text import Edit, apply, comma, fit_articles, fit_case
from conclip.negation.grammar.tokens import is_last
from conclip.negation.lexicon import words
from conclip.negation.lexicon.inflection import takes_who
from conclip.negation.rows import Negation

Form = tuple[str, list[Edit]]  # rule, edits of the caption


def before_adverbs(parsed: Parsed, verb: int, first: int | None = None) -> int:
    """Return the index of the first adverb directly before the verb (or before `first`, its auxiliary)."""
    first = verb if first is None else first
    while first and parsed.tokens[first - 1].dep == "advmod" and parsed.tokens[first - 1].head == verb:
        if parsed.tokens[first - 1].tag != "RB" or parsed.tokens[first - 1].left != first - 1:
            break
        first -= 1
    return first


def _is_under(parsed: Parsed, token, above: int) -> bool:
    """Return whether a determiner belongs to an object or a place of `above` itself, and to no clause below it."""
    while token.head != above:
        token = parsed.tokens[token.head]
        if token.dep not in ("dobj", "pobj", "prep"):
            return False
    return True


def scope_edits(parsed: Parsed, verb: int) -> list[Edit]:
    """Return the edits after a "not": "some" becomes "any"."""
    return [
        (token.start, token.end, "any")
        for token in parsed.tokens[verb + 1 : parsed.tokens[verb].right + 1]
        if token.dep == "det" and token.text == "some" and _is_under(parsed, token, verb)
    ]


def either_edits(parsed: Parsed, noun: int) -> list[Edit]:
    """Change "and" among the objects of a "without" to "or"."""
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
    """Return whether "not" after this subject could leave the sentence true: "some dogs are not running"."""
    if noun < 0:
        return False
    # "Two are not chocolate" is true of a dozen, of which two are.
    subject = parsed.tokens[noun]
    if subject.text.lower() in words.QUANTIFIERS | words.INDEFINITE_PRONOUNS.keys() or subject.tag == "CD":
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
    if low in words.INDEFINITE_PRONOUNS:
        return [("no-subject", [(noun.start, noun.end, words.INDEFINITE_PRONOUNS[low]), *scope])]
    if noun.tag not in ("NN", "NNS") or noun.lemma in words.NO_OBJECT:
        return []
    if any(tokens[k].dep in ("conj", "poss") for k in parsed.children[noun.i]):
        return []
    if noun.left > 0:
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


# "Without both hands" may be true of one who uses one.
_NEVER_NEGATED = frozenset("both all each only other no just about at over more less".split())


_CONTRACTIONS = {
    word: word + "n't" for word in ("is", "are", "was", "were", "has", "have", "does", "do", "did", "could", "would")
}
_DO = {"VBZ": "does", "VBP": "do", "VB": "do", "VBD": "did"}


def negate(parsed: Parsed, pair: Pair, rng: random.Random) -> Negation | None:
    """Return a false negation (c' in CC-Neg): the caption with `pair` negated, in a form that `rng` samples."""
    if pair.kind == "object":
        return negate_object(parsed, pair, rng)
    found = forms(parsed, pair)
    if not found:
        return None
    rule, edits = found[int(rng.random() * len(found))]
    caption = parsed.caption
    text = fit_case(fit_articles(apply(caption, edits), caption), caption)
    return Negation(text, "false", pair.kind, rule, parsed.text(pair.span), pair.span, False)


def forms(parsed: Parsed, pair: Pair) -> list[Form]:
    """Return every form that fits `pair`; a form that is repeated is sampled more often."""
    return _FORMS[pair.construction](parsed, pair)


def _auxiliary(parsed: Parsed, pair: Pair) -> list[Form]:
    auxiliary = parsed.tokens[pair.token]
    low = auxiliary.text.lower()
    verb = auxiliary.i if pair.construction == "copula" else auxiliary.head
    scope = scope_edits(parsed, verb)
    found = []
    if not is_quantified(parsed, pair.head):
        long = (auxiliary.start, auxiliary.end, "cannot") if low == "can" else (auxiliary.end, auxiliary.end, " not")
        found += [("not-auxiliary", [long, *scope])] * 4
        if low in _CONTRACTIONS and comma(parsed.caption) == ",":
            found.append(("contraction", [(auxiliary.start, auxiliary.end, _CONTRACTIONS[low]), *scope]))
    return found + no_subject(parsed, pair, scope)


def _finite(parsed: Parsed, pair: Pair) -> list[Form]:
    verb = parsed.tokens[pair.token]
    scope = scope_edits(parsed, verb.i)
    found = []
    if not is_quantified(parsed, pair.head):
        start = parsed.tokens[before_adverbs(parsed, verb.i)].start
        between = parsed.caption[start : verb.start]
        do = _DO[verb.tag]
        rest = f" {between}{verb.lemma}"
        found += [("do-not", [(start, verb.end, f"{do} not{rest}"), *scope])] * 4
        if comma(parsed.caption) == ",":
            found.append(("contraction", [(start, verb.end, f"{_CONTRACTIONS[do]}{rest}"), *scope]))
    return found + no_subject(parsed, pair, scope)


def _participle(parsed: Parsed, pair: Pair) -> list[Form]:
    token = parsed.tokens[pair.token]
    verb = token.head if token.dep == "auxpass" else token.i
    start = parsed.tokens[before_adverbs(parsed, verb, token.i)].start
    scope = scope_edits(parsed, verb)
    found = [("not-participle", [(start, start, "not "), *scope])]
    who_is = relative(parsed, pair.head)
    if who_is:
        found.append(("who-is-not", [(start, start, f"{who_is} not "), *scope]))
    return found


def _with(parsed: Parsed, pair: Pair) -> list[Form]:
    tokens = parsed.tokens
    preposition = tokens[pair.token]
    noun = parsed.kid(preposition.i, "pobj")
    scope = either_edits(parsed, noun)
    after = (t for t in tokens[noun : tokens[noun].right + 1] if t.dep == "det" and t.text == "some")
    scope += [(t.start, t.end, "any") for t in after if _is_under(parsed, t, noun)]
    without = (preposition.start, preposition.end, "without")
    first = tokens[tokens[noun].left]
    low = first.text.lower()
    if tokens[noun].lemma in ("lot", "lots", "number", "bunch", "couple"):
        return []
    if low in _NEVER_NEGATED or _joins_below(parsed, noun):
        return []
    counted = first.dep == "nummod" or low in words.QUANTIFIERS
    found = []
    if not counted:
        some = [(first.start, first.end, "any")] if low == "some" else []
        found += [("without", [without, *some, *scope])] * 3
    if low in ("a", "an", "some") or counted:
        if not scope and (first.dep == "det" or first.head == noun):
            found.append(("with-no", [(first.start, first.end, "no")]))
    elif first.i == noun and not scope and first.tag == "NNS":
        found.append(("with-no", [(first.start, first.start, "no ")]))
    return found


def _joins_below(parsed: Parsed, noun: int) -> bool:
    """Return whether "and" joins what is below the noun: "a teapot on the stove and books" may be two things."""
    own = {noun}
    while (noun := parsed.kid(noun, "conj")) >= 0:
        own.add(noun)
    inside = parsed.tokens[parsed.tokens[min(own)].left : parsed.tokens[min(own)].right + 1]
    return any(token.dep == "cc" and token.head not in own for token in inside)


def _noun_preposition(parsed: Parsed, pair: Pair) -> list[Form]:
    # "There are birds not on the boy": others may be.
    if parsed.kid(parsed.tokens[pair.head].head, "expl") >= 0:
        return []
    start = pair.span[0]
    found = [("not-preposition", [(start, start, "not ")])]
    who_is = relative(parsed, pair.head)
    if who_is:
        found.append(("who-is-not", [(start, start, f"{who_is} not ")]))
    return found


def _verb_preposition(parsed: Parsed, pair: Pair) -> list[Form]:
    start = pair.span[0]
    # "About to go, but not under a bridge" says another thing of going.
    verb = parsed.tokens[pair.head]
    if verb.tag == "VB" and parsed.kid(verb.i, "aux") == verb.i - 1:
        return []
    mark = comma(parsed.caption)
    found = [("but-not", [(start, start, "but not ")])]
    if parsed.caption[start - 1] == " ":
        found.append(("but-not", [(start - 1, start, f"{mark} but not ")]))
    return found


def adjective_forms(parsed: Parsed, pair: Pair, word: str = "") -> list[Form]:
    """Return the forms of `forms` for an adjective, or for `word` in its place."""
    tokens = parsed.tokens
    noun = tokens[pair.head]
    phrase = word or parsed.text(pair.span)
    start, end = pair.span
    remove = (start, end + 1, "")
    is_are = "are" if is_plural(parsed, noun.i) else "is"
    person = takes_who(noun.lemma.lower())
    following = [k for k in parsed.children[noun.i] if k > noun.i and tokens[k].dep != "punct"]
    phrase = phrase[0].lower() + phrase[1:]
    first = tokens[noun.left]
    insert = noun.end
    if following or first.tag in ("PRP$", "POS") or first.dep == "poss":
        mark = comma(parsed.caption)
        close = "" if is_last(tokens, noun.i) or tokens[noun.i + 1].text == "," else mark
        clause = f"{mark} {'who' if person else 'which'} {is_are} not {phrase}{close}"
    else:
        clause = f" {'who' if person else 'that'} {is_are} not {phrase}"
    return [("that-is-not", [remove, (insert, insert, clause)])]


_FORMS = {
    "auxiliary": _auxiliary,
    "copula": _auxiliary,
    "finite": _finite,
    "participle": _participle,
    "with": _with,
    "noun-prep": _noun_preposition,
    "verb-prep": _verb_preposition,
    "adjective": adjective_forms,
}
