"""Stage 4: which captions and negations are left out, and why."""

import re
from collections.abc import Callable

from conclip.negation.grammar.parsed import Parsed
from conclip.negation.grammar.rows import Negation
from conclip.negation.lexicon.words import NEGATIONS

NOTHING = "nothing to negate"
NEGATED = "caption already negated"
DOUBLE = "double negation"
LONG = "too long"
UNCHANGED = "unchanged"
DUPLICATE = "duplicate"
DOUBT = "grammar's own doubt"
NOT_ABSENT = "no absent noun"
REASONS = (NOTHING, NEGATED, DOUBLE, LONG, UNCHANGED, DUPLICATE, DOUBT, NOT_ABSENT)

CountTokens = Callable[[str], int]

_WORD = re.compile(r"[\w'’-]+")
# Marks of links, markup and cut-off text, of which the parse says little.
_ODD = re.compile(r"[\[\]{}<>|\\*_=~^\n\t]|https?:|www\.|\.\.")


def count_negations(text: str) -> int:
    """How many words of `text` negate: "no", "without", "isn't", "nobody" …"""
    low = text.lower()
    words = _WORD.findall(low)
    found = sum(map(NEGATIONS.__contains__, words))
    if "n't" in low or "n’t" in low:
        found += sum(word.endswith(("n't", "n’t")) and word not in NEGATIONS for word in words)
    return found


def reject_caption(parsed: Parsed) -> str | None:
    """Why nothing is made of this caption; None if something may be."""
    caption = parsed.caption
    if count_negations(caption):
        return NEGATED
    odd = _ODD.search(caption.strip()) or caption.count('"') % 2 or (caption.isupper() and len(caption) > 3)
    if odd or not any(token.tag[:2] == "NN" for token in parsed.tokens):
        return DOUBT
    return None if parsed.pairs else NOTHING


def reject(caption: str, negation: Negation, count_tokens: CountTokens | None = None, limit: int = 77) -> str | None:
    """Why `negation` is left out; None if it is kept.

    `count_tokens(text)` counts with the begin and end marks; without it no text is too long.
    """
    if negation.text.split() == caption.split():
        return UNCHANGED
    if count_negations(negation.text) != (negation.product != "swap"):
        return DOUBLE
    if count_tokens is not None and count_tokens(negation.text) > limit:
        return LONG
    return None
