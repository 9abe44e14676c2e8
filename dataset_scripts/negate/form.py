"""Stage 3, sentence formation: the caption with one pair negated."""

import random

from .parse import Pair, Parsed
from .rows import Negation


def deny(parsed: Parsed, pair: Pair, rng: random.Random) -> Negation | None:
    """A false negation (CC-Neg's c'): the caption with `pair` denied, in one of the forms that fit, drawn by `rng`."""
    raise NotImplementedError


def deny_absent(parsed: Parsed, absent: str, rng: random.Random) -> tuple[Negation, Negation] | None:
    """A true negation and its foil: one frame, filled with `absent` and with an object of the caption's.

    The frame is what the caption says without that object. False negations of objects (`deny`) come from the same
    frames, so that nothing but the content tells true from false.
    """
    raise NotImplementedError


def hybrid(parsed: Parsed, absent: str, rng: random.Random) -> tuple[Negation, Negation] | None:
    """A true hybrid ("a dog but no frisbee") and a false one ("a frisbee but no dog", or "a dog but no ball")."""
    raise NotImplementedError
