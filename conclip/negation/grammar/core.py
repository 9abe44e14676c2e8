"""What a caption says without one of its things."""

from dataclasses import dataclass

from conclip.negation.grammar.parsed import Parsed
from conclip.negation.grammar.text import split_end, tidy
from conclip.negation.lexicon import words
from conclip.negation.lexicon.names import may_be_one

_LINKS = frozenset({"IN", "RB", "RP", "JJ", "TO"})
_DANGLING = frozenset({"IN", "CC", "DT", "TO", "PRP$", "POS", "MD"})


@dataclass(frozen=True, slots=True)
class Core:
    """What is left of a caption when one thing is taken out.

    Attributes:
        text (`str`): without the caption's end.
        is_clause (`bool`): whether a clause fits behind it: it has a finite verb, or ends in a participle.
        place (`tuple[str, str] | None`): if the thing stood in a "with …" phrase, the text before and after it.
    """

    text: str
    is_clause: bool
    place: tuple[str, str] | None = None


def find_core(parsed: Parsed, noun: int, name: str) -> Core | None:
    """The caption without the phrase or clause that brings in the thing `name` at token `noun`.

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
    if first <= last:
        last = _take_along(parsed, last)
    kept = [t for t in tokens[keep_first : keep_last + 1] if not first <= t.i <= last and t.dep != "punct"]
    if first <= last < len(tokens) - 1:
        after = tokens[last + 1]
        if (
            after.dep == "mark"
            or first == 0
            or tokens[last].dep == "cc"
            or (tokens[first].dep == "cc" and after.tag in ("VBG", "VBN"))
        ):
            return None
    if not kept or kept[-1].tag in _DANGLING or not _stands_without(kept, name):
        return None
    caption = parsed.caption
    end = len(split_end(caption)[0])
    begin, stop = tokens[keep_first].start, min(tokens[keep_last].end, end)
    if first > last:
        before, after = caption[begin:stop], ""
    else:
        before, after = caption[begin : tokens[first].start], caption[tokens[last].end : stop]
    root = roots[0]
    # "A dog running and no ball" halts; "a dog running, but there is no ball" does not.
    ends_in_verb = kept[-1].tag in ("VBG", "VBN", "RB", "RP") or kept[-1].text.endswith("ing")
    is_clause = ends_in_verb or root in kept and _is_finite(parsed, root) and keep_first == 0
    place = (before.rstrip(), after.lstrip()) if is_with else None
    return Core(tidy(f"{before} {after}"), is_clause, place)


def _stands_without(kept: list, name: str) -> bool:
    nouns = [t for t in kept if t.tag[:2] == "NN"]
    return bool(nouns) and not any(may_be_one(t.lemma.lower(), name) for t in nouns)


def _is_finite(parsed: Parsed, verb) -> bool:
    if verb.tag in ("VBZ", "VBP", "VBD"):
        return True
    return verb.tag[:2] == "VB" and any(
        parsed.tokens[k].dep in ("aux", "auxpass") and parsed.tokens[k].tag in ("VBZ", "VBP", "VBD", "MD")
        for k in parsed.children[verb.i]
    )


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
        has_object = parsed.kid(governor.i, "dobj") >= 0
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
    if first.tag[:2] != "NN" or first.dep == "conj":
        return None
    if first.dep in ("nsubj", "nsubjpass"):
        return first.left, cc - 1, cc, cc - 1, False
    return 0, len(tokens) - 1, cc, token.right, False
