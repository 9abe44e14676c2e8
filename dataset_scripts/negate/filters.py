"""Stage 4: which captions and negations are left out, and why."""

from collections.abc import Callable

from .parse import Parsed
from .rows import Negation

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


def reject_caption(parsed: Parsed) -> str | None:
    """Why nothing is made of this caption; None if something may be."""
    raise NotImplementedError


def reject(caption: str, negation: Negation, count_tokens: CountTokens | None = None, limit: int = 77) -> str | None:
    """Why `negation` is left out; None if it is kept.

    `count_tokens(text)` counts with the begin and end marks; without it no text is too long.
    """
    raise NotImplementedError
