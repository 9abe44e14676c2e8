"""Stage 2, choice: which of the caption's pairs is negated."""

import random

from .parse import Pair, Parsed


def choose(parsed: Parsed, strategy: str, rng: random.Random) -> Pair | None:
    """Draws one pair: any ("random", as in the paper) or one of the kind that `strategy` names.

    Returns None if the caption has none of that kind. Raises `ValueError` if `strategy` is not in `rows.STRATEGIES`.
    """
    raise NotImplementedError
